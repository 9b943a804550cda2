"""The processes that serve this database: their heartbeats, and the fencing of dead ones."""

from db.replicas.repository import SILENT_AFTER, ReplicaRow, Replicas
from db.replicas.tables import ReplicaProcess

__all__ = ["SILENT_AFTER", "ReplicaProcess", "ReplicaRow", "Replicas"]
