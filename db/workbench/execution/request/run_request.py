"""A request to run a statement, and its validation against the operator's limits."""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from db.connections import ConnectionRow
from db.errors import BadInput, Forbidden, TooLarge
from db.kit.number_rules import require_between
from db.kit.text_rules import require_storable
from db.runs import NewRun
from db.saved_queries import SavedCall
from db.workbench.copy.import_request import Import, ImportRequest, encode_source
from db.workbench.execution.request.run_origin import run_origin

MAX_STATEMENT_CHARS = 500_000
MAX_PARAMETERS = 1_000


class RunLimits(NamedTuple):
    """Limits of one user, except `process_slots`: the runs of all users in one process."""

    max_running: int = 8
    max_active: int = 100
    timeout_ms: int = 60_000
    max_timeout_ms: int = 24 * 3_600_000
    max_rows: int = 1_000_000
    max_bytes: int = 256 * 1024 * 1024
    max_cell: int = 32 * 1024 * 1024
    process_slots: int = 64
    retention_days: int = 30
    max_kept_bytes: int = 5 * 1024**3
    max_kept_runs: int = 10_000
    max_kept_text: int = 1024**3

    @property
    def retention(self) -> timedelta:
        return timedelta(days=self.retention_days)


class ImportTarget(NamedTuple):
    """Where an import runs, and for how long: on a connection, or in a session."""

    connection_id: UUID | None
    session_id: UUID | None = None
    timeout_ms: int | None = None

    def call(self, request: ImportRequest) -> object:
        """What must be the same if an idempotency key is used again."""
        return ("importRows", self, request)


class RunRequest(NamedTuple):
    """A statement and its options. None uses the default of the connection or of the server."""

    connection_id: UUID | None
    """None for a run in a session, which has its connection."""
    statement: str
    parameters: Sequence[Any] | None = None
    timeout_ms: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    read_only: bool | None = None
    session_id: UUID | None = None
    imported: Import | None = None
    """The data if the statement is COPY ... FROM STDIN of `importRows`."""
    changes: str | None = None
    """The table of `changeRows` as JSON (db.workbench.changes); the parameters are the changes."""
    saved: SavedCall | None = None
    """The saved query that gives the statement, as the request calls it."""

    @property
    def call(self) -> object:
        """What must be the same if an idempotency key is used again."""
        if self.imported is not None:
            target = ImportTarget(self.connection_id, self.session_id, self.timeout_ms)
            return target.call(self.imported.request)
        if self.changes is not None:
            return ("changeRows", self[:_IN_CALL], self.changes)
        if self.saved is not None:  # as it was sent: the saved query may change before a retry
            sent = self._replace(connection_id=None, statement="", parameters=None, saved=None)
            return ("executeQuery", self.saved, sent[:_IN_CALL])
        return ("executeQuery", self[:_IN_CALL])

    def validate(self, limits: RunLimits) -> "RunRequest":
        """Returns the request.

        Raises:
            BadInput: An option is out of range, or a value cannot be sent to PostgreSQL.
            TooLarge: The statement is too long, or there are too many parameters.
        """
        require_storable("statement", self.statement)
        if len(self.statement) > MAX_STATEMENT_CHARS:
            raise TooLarge(
                f"`statement` has more than {MAX_STATEMENT_CHARS} characters.",
                hint="Pass the data as parameters, or split it into several runs or scripts.",
                field="statement",
            )
        if not self.statement.strip():
            raise BadInput(
                "`statement` is empty.", hint="Pass an SQL statement.", field="statement"
            )
        if len(self.parameters or ()) > MAX_PARAMETERS:
            raise TooLarge(
                f"`parameters` has more than {MAX_PARAMETERS} values.",
                hint="Pass the values as one array, or as JSON.",
                field="parameters",
            )
        check_range("timeoutMs", self.timeout_ms, limits.max_timeout_ms)
        check_range("maxRows", self.max_rows, limits.max_rows)
        check_range("maxBytes", self.max_bytes, limits.max_bytes)
        self.encode_parameters()
        return self

    def encode_parameters(self) -> str:
        for value in self.parameters or ():
            _check_parameter(value)
        return msgspec.json.encode(list(self.parameters or ())).decode()

    def to_new_run(self, connection: ConnectionRow, limits: RunLimits) -> NewRun:
        """Fills in the defaults of the connection, then those of the server.

        Raises:
            Forbidden: The run would import or change rows over a read-only connection.
        """
        if self.imported is not None and (connection.read_only or self.read_only):
            raise import_forbidden("This connection or session is read-only.")
        if self.changes is not None and (connection.read_only or self.read_only):
            raise changes_forbidden("This connection or session is read-only.")
        default_ms = connection.statement_timeout_ms or limits.timeout_ms
        timeout_ms = self.timeout_ms or default_ms
        return NewRun(
            connection_id=connection.id,
            statement=self.statement,
            parameters=self.encode_parameters(),
            read_only=connection.read_only or self.read_only is True,
            timeout_ms=min(timeout_ms, limits.max_timeout_ms),  # defaults may exceed the limit
            max_rows=self.max_rows or limits.max_rows,
            max_bytes=self.max_bytes or limits.max_bytes,
            origin=run_origin(connection, self.statement, imported=self.imported),
            source=encode_source(self.imported) if self.imported else self.changes,
            source_bytes=self.imported and self.imported.copied_bytes,
            session_id=self.session_id,
            saved_query_id=self.saved and self.saved.id,
        )


_IN_CALL = RunRequest._fields.index("imported")
"""An idempotency key stands for the fields before. Stored ones know no others."""


def import_forbidden(reason: str, *, field: str | None = None) -> Forbidden:
    return Forbidden(
        f"{reason} Rows cannot be imported.",
        hint="Use a connection and a token that may write.",
        field=field,
    )


def changes_forbidden(reason: str) -> Forbidden:
    return Forbidden(
        f"{reason} Rows cannot be changed.", hint="Use a connection and a token that may write."
    )


def check_range(field: str, value: int | None, most: int, *, least: int = 1) -> None:
    """None stands for the default."""
    if value is not None:
        hint = f"Pass a value between {least} and {most}, or omit it to use the default."
        require_between(field, value, least, most, hint=hint)


def _check_parameter(value: object) -> None:
    match value:
        case str():
            require_storable("parameters", value)
        case float() if not math.isfinite(value):
            raise BadInput(
                "`parameters` contains a number that is too large for JSON.",
                hint='Pass it as a string, such as "1e400".',
                field="parameters",
            )
        case list():
            for item in value:
                _check_parameter(item)
        case dict():
            for name, item in value.items():
                require_storable("parameters", name)
                _check_parameter(item)
