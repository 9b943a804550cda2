"""The processes that serve this database: their heartbeats, and the fencing of dead ones."""

from db.kit.live_processes import ReplicaProcess
from db.replicas.heartbeat import Heartbeat
from db.replicas.repository import SILENT_AFTER, ReplicaRow, Replicas

__all__ = ["SILENT_AFTER", "Heartbeat", "ReplicaProcess", "ReplicaRow", "Replicas"]
