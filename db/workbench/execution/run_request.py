"""What somebody asks to have run, checked against what the operator allows."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from db.connections import ConnectionRow
from db.errors import BadInput, TooLarge
from db.runs import NewRun

LARGEST_STATEMENT = 500_000
MOST_PARAMETERS = 1_000


class RunLimits(NamedTuple):
    """What the operator allows one user."""

    at_once: int = 8
    waiting: int = 100
    timeout_ms: int = 60_000
    longest_timeout_ms: int = 24 * 3_600_000
    max_rows: int = 1_000_000
    max_bytes: int = 256 * 1024 * 1024
    longest_cell: int = 16 * 1024 * 1024
    everybody_at_once: int = 64
    days_kept: int = 30
    bytes_kept: int = 5 * 1024**3
    runs_kept: int = 10_000


class Order(NamedTuple):
    """A statement and how it is to be run; None is as usual."""

    connection_id: UUID
    statement: str
    parameters: Sequence[Any] | None = None
    timeout_ms: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    read_only: bool | None = None

    def checked(self, limits: RunLimits) -> "Order":
        """Itself; raises what is wrong with it."""
        _storable(self.statement, "statement")
        if len(self.statement) > LARGEST_STATEMENT:
            raise TooLarge(
                f"`statement` has {len(self.statement)} characters; {LARGEST_STATEMENT} is most.",
                hint="Bring data in as parameters, or in several runs.",
                field="statement",
            )
        if not self.statement.strip():
            raise BadInput("`statement` is empty.", hint="Write one.", field="statement")
        if len(self.parameters or ()) > MOST_PARAMETERS:
            raise TooLarge(
                f"There are more than {MOST_PARAMETERS} parameters.",
                hint="Pass an array, or JSON.",
                field="parameters",
            )
        _within("timeoutMs", self.timeout_ms, limits.longest_timeout_ms)
        _within("maxRows", self.max_rows, limits.max_rows)
        _within("maxBytes", self.max_bytes, limits.max_bytes)
        self.written_parameters()
        return self

    def written_parameters(self) -> str:
        for value in self.parameters or ():
            _sendable(value)
        return msgspec.json.encode(list(self.parameters or ())).decode()

    def on(self, connection: ConnectionRow, limits: RunLimits) -> NewRun:
        """As it is run there: what the connection says counts where the order says nothing."""
        usual_ms = connection.statement_timeout_ms or limits.timeout_ms
        return NewRun(
            connection_id=connection.id,
            statement=self.statement,
            parameters=self.written_parameters(),
            read_only=connection.read_only or self.read_only is True,
            timeout_ms=self.timeout_ms or usual_ms,
            max_rows=self.max_rows or limits.max_rows,
            max_bytes=self.max_bytes or limits.max_bytes,
        )


def _within(field: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise BadInput(
            f"`{field}` must be from 1 to {most}.", hint="Leave it out for the usual.", field=field
        )


def _sendable(value: object) -> None:
    match value:
        case str():
            _storable(value, "parameters")
        case float() if not math.isfinite(value):
            raise BadInput(
                "`parameters` holds a number that is too large for JSON.",
                hint='Send it as text, such as "1e400".',
                field="parameters",
            )
        case list():
            for item in value:
                _sendable(item)
        case dict():
            for name, item in value.items():
                _storable(name, "parameters")
                _sendable(item)


def _storable(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        whole = False
    else:
        whole = "\0" not in text
    if not whole:
        raise BadInput(
            f"`{field}` holds a character that PostgreSQL does not take.",
            hint="Leave out U+0000 and halves of surrogate pairs.",
            field=field,
        )
