"""Statements on the runs of all owners: sweeps, recovery, and lookups for signed links."""
