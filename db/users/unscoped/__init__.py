"""Rows of all users: to authenticate, for the operator, and for sweeps."""
