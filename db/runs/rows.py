"""Immutable values of runs, their results and their errors."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self
from uuid import UUID

import msgspec

from db.kit.base import OwnerId


class RunState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    INTERRUPTED = "INTERRUPTED"


class TruncationReason(StrEnum):
    MAX_ROWS = "MAX_ROWS"
    MAX_BYTES = "MAX_BYTES"
    MAX_CELL = "MAX_CELL"


class CancelOutcome(StrEnum):
    CANCELLED = "CANCELLED"
    ALREADY_FINISHED = "ALREADY_FINISHED"
    TERMINATED = "TERMINATED"


ACTIVE = (RunState.QUEUED, RunState.RUNNING)


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A result column. Its source is null if it shows no table column."""

    name: str
    type: str
    type_oid: int
    table: str | None = None
    """`table_name` with its schema, quoted where SQL needs it."""
    nullable: bool | None = None
    schema_name: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    key_size: int = 0
    """The number of columns of the table's key, if this is one of them."""

    @property
    def is_key(self) -> bool:
        return self.key_size > 0


class EditableSource(NamedTuple):
    """The table whose rows a result shows, each with its key."""

    schema_name: str
    table_name: str
    key_columns: list[str]

    @classmethod
    def of(cls, columns: Iterable[Column]) -> Self | None:
        """None if the result does not tell which row of which table a row shows.

        A column that occurs twice may come from a join of the table with itself.
        """
        shown = [column for column in columns if column.table_name is not None]
        tables = {(column.schema_name or "", column.table_name or "") for column in shown}
        names = {column.column_name for column in shown}
        key = [column for column in shown if column.is_key]
        if len(tables) != 1 or len(names) < len(shown):
            return None
        if not key or len(key) < key[0].key_size:
            return None
        return cls(*tables.pop(), [column.column_name or "" for column in key])


class ServerNotice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A notice or warning that the server sent while the statement ran."""

    severity: str
    message: str
    sqlstate: str | None = None
    detail: str | None = None
    hint: str | None = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a run did not succeed. `position` counts the characters of the statement from 1.

    The positions in the text of a script are added when the run of a script is read.
    """

    message: str
    code: str | None = None
    """The code of a HowdahError; None for the errors that PostgreSQL reports."""
    sqlstate: str | None = None
    severity: str | None = None
    detail: str | None = None
    hint: str | None = None
    constraint: str | None = None
    position: int | None = None
    line: int | None = None
    column: int | None = None
    context: str | None = None
    """Where it happened, in PostgreSQL's words: the functions that were called, the line copied."""
    source_line: int | None = None
    """Line or row of the data of a COPY, from 1."""
    source_column: str | None = None
    script_position: int | None = None
    script_line: int | None = None
    script_column: int | None = None


class Truncated(msgspec.Struct, frozen=True):
    """The limit that truncated the result, and its value."""

    reason: str
    limit: int


class NewRun(NamedTuple):
    """A validated run, ready to be started or queued."""

    connection_id: UUID
    statement: str
    parameters: str
    read_only: bool
    timeout_ms: int
    max_rows: int
    max_bytes: int
    origin: str | None = None
    """What the audit log says of the run when it ends, made by `run_origin` of db.workbench."""
    session_id: UUID | None = None
    """The database session that the run is for; None for one with a connection of its own."""
    source: str | None = None
    """The file of an import, as JSON."""
    source_bytes: int | None = None
    script_id: UUID | None = None
    script_index: int | None = None
    """Null for the COMMIT or ROLLBACK at the end of a script, which is not in its text."""
    statement_start: int | None = None
    statement_end: int | None = None
    statement_line: int | None = None
    statement_column: int | None = None
    saved_query_id: UUID | None = None


class RunRow(NamedTuple):
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
    session_id: UUID | None = None
    source: str | None = None
    source_bytes: int | None = None
    """Number of bytes that an import copies, if it is known before."""
    script_id: UUID | None = None
    script_index: int | None = None
    statement_start: int | None = None
    statement_end: int | None = None
    statement_line: int | None = None
    statement_column: int | None = None
    saved_query_id: UUID | None = None

    @property
    def is_finished(self) -> bool:
        return self.state not in ACTIVE

    @property
    def parsed_columns(self) -> list[Column] | None:
        return msgspec.json.decode(self.columns, type=list[Column]) if self.columns else None

    @property
    def editable(self) -> EditableSource | None:
        return EditableSource.of(self.parsed_columns or ())

    @property
    def parsed_parameters(self) -> list[Any]:
        found: list[Any] = msgspec.json.decode(self.parameters)
        return found

    @property
    def parsed_notices(self) -> list[ServerNotice]:
        return msgspec.json.decode(self.notices, type=list[ServerNotice])

    @property
    def parsed_truncated(self) -> Truncated | None:
        return msgspec.json.decode(self.truncated, type=Truncated) if self.truncated else None

    @property
    def parsed_error(self) -> Failure | None:
        return msgspec.json.decode(self.error, type=Failure) if self.error else None


class Backend(msgspec.Struct, frozen=True):
    """A backend of a user's database. PostgreSQL reuses PIDs, so the start time is needed too."""

    pid: int
    started_at: str


class RunBackend(NamedTuple):
    """The backend that executes the statement of a running run."""

    run_id: UUID
    connection_id: UUID
    backend: Backend


class InlineRows(NamedTuple):
    """All rows of a small result, as JSON lines."""

    lines: bytes
    row_count: int


class Ending(msgspec.Struct, kw_only=True):
    """The terminal state of a run and the values written with it."""

    state: str
    columns: list[Column] | None = None
    rows_affected: int | None = None
    command: str | None = None
    notices: list[ServerNotice] = []
    truncated: Truncated | None = None
    error: Failure | None = None
    rows: InlineRows | None = None
    """The rows of a small result; larger ones were stored in pages."""
    keeps_rows: bool = False
    """The rows are kept although the run has failed: they say why."""
    without_rows: bool = False
    """The rows could not be stored, so none is readable."""
    cancel_outcome: str | None = None
    connection_usable: bool | None = None


class PageRow(NamedTuple):
    """Rows of a result in one stored object; `marks` are the chunk ends as [row, byte, ...].

    The rows of a small result are one page whose `lines` are with their run instead.
    """

    number: int
    first_row: int
    row_count: int
    size: int
    marks: str
    lines: bytes | None = None

    @property
    def ends(self) -> list[tuple[int, int]]:
        """(rows, bytes) from the start of the page to the end of each chunk."""
        flat = msgspec.json.decode(self.marks, type=list[int])
        return list(zip(flat[::2], flat[1::2], strict=True))


class RunUsage(NamedTuple):
    """The runs of one owner, with the bytes of their texts and of their results."""

    runs: int
    text_bytes: int
    result_bytes: int


class RunFilter(NamedTuple):
    """Filters of the history. None matches every run."""

    connection_id: UUID | None = None
    states: tuple[str, ...] | None = None
    search: str | None = None


class OrphanRow(NamedTuple):
    """A run whose process died, and the backend that may still execute its statement."""

    id: UUID
    owner_id: OwnerId
    connection_id: UUID | None
    backend_pid: int | None
    backend_started_at: str | None
