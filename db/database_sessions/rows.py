"""Immutable values of database sessions."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.kit.base import OwnerId


class SessionState(StrEnum):
    OPENING = "OPENING"
    IDLE = "IDLE"
    RUNNING = "RUNNING"
    IN_TRANSACTION = "IN_TRANSACTION"
    IN_FAILED_TRANSACTION = "IN_FAILED_TRANSACTION"
    CLOSED = "CLOSED"


class CloseReason(StrEnum):
    CLIENT = "CLIENT"
    IDLE_TIMEOUT = "IDLE_TIMEOUT"
    TRANSACTION_TIMEOUT = "TRANSACTION_TIMEOUT"
    LOST = "LOST"
    SERVER_STOPPED = "SERVER_STOPPED"


class IsolationLevel(StrEnum):
    READ_COMMITTED = "READ_COMMITTED"
    REPEATABLE_READ = "REPEATABLE_READ"
    SERIALIZABLE = "SERIALIZABLE"

    @property
    def sql(self) -> str:
        return self.value.replace("_", " ")


class NewSession(NamedTuple):
    """A validated session, ready to be opened."""

    connection_id: UUID
    name: str
    autocommit: bool
    read_only: bool
    isolation_level: str | None
    idle_timeout_ms: int
    transaction_timeout_ms: int
    for_script: bool = False


class DatabaseSessionRow(NamedTuple):
    id: UUID
    owner_id: OwnerId
    connection_id: UUID | None
    name: str
    state: str
    autocommit: bool
    read_only: bool
    isolation_level: str | None
    idle_timeout_ms: int
    transaction_timeout_ms: int
    for_script: bool
    process: int
    backend_pid: int | None
    backend_started_at: str | None
    statement_count: int
    warning: str | None
    revision: int
    close_reason: str | None
    transaction_started_at: datetime | None
    opened_at: datetime
    last_used_at: datetime
    expires_at: datetime | None
    close_requested_at: datetime | None
    closed_at: datetime | None

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None


class SessionStatus(NamedTuple):
    """The state of a session between two statements, as the server reports it."""

    state: str
    statement_count: int
    transaction_age: timedelta | None
    """How long the open transaction has lasted; None outside one. Times are of the database."""
    is_new_transaction: bool
    """False if the recorded start of the transaction stays."""


class SessionBackend(NamedTuple):
    """A session that was closed, and the backend that may still hold its transaction."""

    id: UUID
    owner_id: OwnerId
    connection_id: UUID | None
    name: str
    backend_pid: int | None
    backend_started_at: str | None
    close_reason: str


class HeldState(NamedTuple):
    """What a process checks of a session that it holds."""

    id: UUID
    is_closed: bool
    close_requested: bool
