"""Reads on standbys that never show a client less than it has seen. Decision 0065."""

from db.postgres.standbys.operation_reads import OperationReads, RoutedReads, reads_of
from db.postgres.standbys.standbys import Standbys, open_standbys

__all__ = ["OperationReads", "RoutedReads", "Standbys", "open_standbys", "reads_of"]
