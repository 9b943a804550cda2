"""Statements on the sessions of all owners: takeovers, time-outs and retention."""
