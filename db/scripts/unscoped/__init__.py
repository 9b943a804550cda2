"""Statements on the scripts of all owners: recovery and retention."""
