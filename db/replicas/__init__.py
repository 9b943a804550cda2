"""The processes that serve this database: their heartbeats, and the fencing of dead ones."""

from db.kit.live_processes import SILENT_AFTER, ReplicaProcess
from db.replicas.heartbeat import Heartbeat
from db.replicas.repository import ReplicaProcesses, ReplicaProcessRow
from db.replicas.unended_backends import UnendedBackends

__all__ = [
    "SILENT_AFTER",
    "Heartbeat",
    "ReplicaProcess",
    "ReplicaProcessRow",
    "ReplicaProcesses",
    "UnendedBackends",
]
