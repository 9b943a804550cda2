"""Immutable values of scripts."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.kit.base import OwnerId


class ScriptState(StrEnum):
    """The states of a run; a script has the same."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    INTERRUPTED = "INTERRUPTED"


ACTIVE = (ScriptState.QUEUED, ScriptState.RUNNING)


class OnError(StrEnum):
    STOP = "STOP"
    CONTINUE = "CONTINUE"


class ScriptTransaction(StrEnum):
    EACH = "EACH"
    SINGLE = "SINGLE"


class NewScript(NamedTuple):
    """A validated script, ready to be queued."""

    connection_id: UUID
    session_id: UUID | None
    """None if the script opens a session for itself."""
    owns_session: bool
    script: str
    statement_count: int
    on_error: str
    transaction: str
    read_only: bool
    timeout_ms: int
    max_rows: int
    max_bytes: int
    actor: str
    """Who submitted it, as JSON (db.kit.audit.Actor): its runs are the acts of this actor."""


class ScriptRunRow(NamedTuple):
    id: UUID
    owner_id: OwnerId
    connection_id: UUID | None
    session_id: UUID | None
    owns_session: bool
    statement_count: int
    on_error: str
    transaction: str
    read_only: bool
    timeout_ms: int
    max_rows: int
    max_bytes: int
    state: str
    revision: int
    current_index: int | None
    succeeded_count: int
    failed_count: int
    error: str | None
    """The Failure (db.runs) that ended the script, as JSON."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    expires_at: datetime | None

    @property
    def is_finished(self) -> bool:
        return self.state not in ACTIVE


class QueuedScript(NamedTuple):
    """A script that waits for its session, with what its execution needs besides the row."""

    row: ScriptRunRow
    script: str
    actor: str


class ScriptProgress(NamedTuple):
    """How many statements have ended, and the one that is executed now or was the last.

    The index is None if none was executed.
    """

    current_index: int | None
    succeeded_count: int = 0
    failed_count: int = 0
