"""Immutable values that the workbench accepts and returns."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.errors import HowdahError
from db.workbench.connections.connection_errors import HostKeyUnconfirmed


class ActivePool(NamedTuple):
    """A connection that is open in this process, with the current state of its pool."""

    connection_id: UUID
    server_version: str
    tls: str | None
    connected_at: datetime
    pool_size: int
    idle: int
    busy: int


class Problem(NamedTuple):
    """An error as data, for a response that reports it without failing."""

    code: str
    message: str
    hint: str
    field: str | None
    host_key_fingerprint: str | None

    @classmethod
    def of(cls, error: HowdahError) -> "Problem":
        fingerprint = error.fingerprint if isinstance(error, HostKeyUnconfirmed) else None
        return cls(error.code, error.message, error.hint, error.field, fingerprint)


class ProbeResult(NamedTuple):
    """The result of a connection test. `problem` is None if it succeeded."""

    server_version: str | None = None
    latency_ms: float | None = None
    tls: str | None = None
    problem: Problem | None = None


class Limits(NamedTuple):
    """Limits of one process, set by the operator."""

    pool_size: int = 8
    connections: int = 200
    idle_s: float = 60.0
    row_bytes: int = 32 * 1024 * 1024
    """What one connection may buffer of a row that has not arrived completely."""
    process_row_bytes: int = 64 * 1024 * 1024
    """What all connections together may buffer of rows above 1 MiB."""
