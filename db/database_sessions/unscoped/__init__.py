"""Statements on the sessions of all owners: rescue, time-outs and retention."""
