"""Reads on standbys that never show a client less than it has seen. Decision 0065."""

from db.postgres.standbys.examination import examine_standbys
from db.postgres.standbys.operation_reads import OperationReads, RoutedReads, reads_of
from db.postgres.standbys.standbys import Standbys, open_standbys

__all__ = [
    "OperationReads",
    "RoutedReads",
    "Standbys",
    "examine_standbys",
    "open_standbys",
    "reads_of",
]
