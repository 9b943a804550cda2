"""What a run is, in every state: plain values, as they were when they were read."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from db.kit.base import OwnerId

QUEUED, RUNNING = "QUEUED", "RUNNING"
SUCCEEDED, FAILED, CANCELLED = "SUCCEEDED", "FAILED", "CANCELLED"
TIMED_OUT, INTERRUPTED = "TIMED_OUT", "INTERRUPTED"

ACTIVE = (QUEUED, RUNNING)
TERMINAL = (SUCCEEDED, FAILED, CANCELLED, TIMED_OUT, INTERRUPTED)

MAX_ROWS, MAX_BYTES, MAX_CELL = "MAX_ROWS", "MAX_BYTES", "MAX_CELL"


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of a result; `table` and `nullable` are of the table's column that it shows."""

    name: str
    type: str
    type_oid: int
    table: str | None = None
    nullable: bool | None = None


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server said beside the result."""

    severity: str
    message: str
    sqlstate: str | None = None
    detail: str | None = None
    hint: str | None = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a run did not succeed; a position is a character of the user's own text, from 1."""

    message: str
    sqlstate: str | None = None
    severity: str | None = None
    detail: str | None = None
    hint: str | None = None
    constraint: str | None = None
    position: int | None = None
    line: int | None = None
    column: int | None = None


class Truncated(msgspec.Struct, frozen=True):
    """Which limit cut the result, and what it was."""

    reason: str
    limit: int


class NewRun(NamedTuple):
    """What is to be run, checked."""

    connection_id: UUID
    statement: str
    parameters: str
    read_only: bool
    timeout_ms: int
    max_rows: int
    max_bytes: int


class RunRow(NamedTuple):
    """A run as it was when it was read."""

    id: UUID
    owner_id: OwnerId
    connection_id: UUID | None
    statement: str
    parameters: str
    read_only: bool
    timeout_ms: int
    max_rows: int
    max_bytes: int
    state: str
    revision: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    columns: str | None
    row_count: int
    result_bytes: int
    rows_affected: int | None
    command: str | None
    notices: str
    truncated: str | None
    error: str | None
    cancel_outcome: str | None
    connection_usable: bool | None
    expires_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL

    @property
    def opened_columns(self) -> list[Column] | None:
        return msgspec.json.decode(self.columns, type=list[Column]) if self.columns else None

    @property
    def opened_parameters(self) -> list[Any]:
        found: list[Any] = msgspec.json.decode(self.parameters)
        return found

    @property
    def opened_notices(self) -> list[Notice]:
        return msgspec.json.decode(self.notices, type=list[Notice])

    @property
    def opened_truncated(self) -> Truncated | None:
        return msgspec.json.decode(self.truncated, type=Truncated) if self.truncated else None

    @property
    def opened_error(self) -> Failure | None:
        return msgspec.json.decode(self.error, type=Failure) if self.error else None


class Ending(msgspec.Struct, kw_only=True):
    """How a run ended: what is written with its terminal state."""

    state: str
    columns: list[Column] | None = None
    rows_affected: int | None = None
    command: str | None = None
    notices: list[Notice] = []
    truncated: Truncated | None = None
    error: Failure | None = None
    without_rows: bool = False
    """The rows could not be kept, so none of them is to be seen."""
    cancel_outcome: str | None = None
    connection_usable: bool | None = None


class PageRow(NamedTuple):
    """Some rows of a result in one object; `marks` are where its chunks end: row, byte, ..."""

    number: int
    first_row: int
    row_count: int
    size: int
    marks: str

    @property
    def ends(self) -> list[tuple[int, int]]:
        """The (rows, bytes) of the page up to the end of each chunk."""
        flat = msgspec.json.decode(self.marks, type=list[int])
        return list(zip(flat[::2], flat[1::2], strict=True))


class RunFilter(NamedTuple):
    """Which runs of the history; None is no condition."""

    connection_id: UUID | None = None
    states: tuple[str, ...] | None = None
    search: str | None = None


class OrphanRow(NamedTuple):
    """A run whose process is gone, and the statement that it may have left behind."""

    id: UUID
    owner_id: OwnerId
    connection_id: UUID | None
    backend_pid: int | None
    backend_started_at: str | None
