"""A request to change rows of a table, its validation, and its form in the row of its run."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self, TypeAlias
from uuid import UUID

import msgspec

from db.errors import BadInput, TooLarge
from db.kit.text_rules import require_storable
from db.runs import RunRow
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.sql.quoting import require_name

MAX_CHANGES = 1_000
_KIND = "changes"

Values: TypeAlias = Mapping[str, Any]


class RowChangeKind(StrEnum):
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class RowChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. Values are as a result shows them, by the names of their columns."""

    kind: RowChangeKind
    key: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    """The values that the row had when it was read."""
    values: dict[str, Any] = {}

    @property
    def names(self) -> set[str]:
        return self.key.keys() | self.expected.keys() | self.values.keys()


class RawChange(NamedTuple):
    """A change as it was sent: its values may be of any shape."""

    kind: RowChangeKind
    key: object = None
    expected: object = None
    values: object = None


class ChangeRequest(NamedTuple):
    """Changes of the rows of one table, and where they are made."""

    schema_name: str
    table_name: str
    changes: Sequence[RawChange]
    connection_id: UUID | None = None
    session_id: UUID | None = None
    dry_run: bool = False
    timeout_ms: int | None = None

    def to_run_request(self) -> RunRequest:
        """Returns the run that makes the changes. Its parameters are the changes.

        Raises:
            BadInput: A name or a change is wrong, whatever the table is.
            TooLarge: There are too many changes.
        """
        for field, name in (("schemaName", self.schema_name), ("tableName", self.table_name)):
            require_storable(field, require_name(field, name))
        if len(self.changes) > MAX_CHANGES:
            raise TooLarge(
                f"`changes` has more than {MAX_CHANGES} changes.",
                hint="Send them in several requests, or load rows with `importRows`.",
                field="changes",
            )
        if not self.changes:
            raise BadInput("`changes` is empty.", hint="Pass a change.", field="changes")
        changes = [_checked(change, index) for index, change in enumerate(self.changes)]
        source = ChangeSource(self.schema_name, self.table_name, dry_run=self.dry_run)
        return RunRequest(
            self.connection_id,
            _summary(source, changes),
            [msgspec.to_builtins(change) for change in changes],
            timeout_ms=self.timeout_ms,
            session_id=self.session_id,
            changes=msgspec.json.encode(source).decode(),
        )


class ChangeSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """The table that a run changes; stored in the `source` of the run."""

    schema_name: str
    table_name: str
    dry_run: bool = False
    kind: str = _KIND

    @classmethod
    def of(cls, run: RunRow) -> Self | None:
        """None for a run that changes no rows by key."""
        if run.source is None or not run.statement.startswith(_SUMMARY):
            return None
        return msgspec.json.decode(run.source, type=cls)


def changes_of(run: RunRow) -> list[RowChange]:
    return msgspec.json.decode(run.parameters, type=list[RowChange])


_SUMMARY = "-- changeRows "


def _summary(source: ChangeSource, changes: Sequence[RowChange]) -> str:
    """The `statement` of the run: a comment, since the columns are not known yet."""
    counts = Counter(change.kind for change in changes)
    shown = ", ".join(f"{counts[kind]} {kind}" for kind in RowChangeKind if counts[kind])
    table = f"{source.schema_name}.{source.table_name}".replace("\n", " ").replace("\r", " ")
    return f"{_SUMMARY}{table}: {shown}" + (" (dry run)" if source.dry_run else "")


def _checked(change: RawChange, index: int) -> RowChange:
    """Raises BadInput for what is wrong whatever the columns are."""

    def refuse(reason: str, hint: str) -> BadInput:
        return BadInput(f"Change {index}: {reason}", hint=hint, field="changes")

    kind = change.kind
    key, expected, values = (
        _to_values(found, name, refuse)
        for found, name in (
            (change.key, "key"),
            (change.expected, "expected"),
            (change.values, "values"),
        )
    )
    if kind == RowChangeKind.INSERT:
        if key or expected:
            raise refuse(
                "an INSERT has a `key` or `expected`.",
                "Pass the values of the new row in `values`, those of its key included.",
            )
        return RowChange(kind, values=values or {})
    if not key or None in key.values():
        raise refuse(
            f"the `key` of {kind} is missing, or has a null.",
            "Pass the value of each column of the key, as the result shows it.",
        )
    if expected is None:
        raise refuse(
            f"`expected` of {kind} is missing.",
            "Pass the values that the row had when it was read, so that no change of another "
            "user is lost.",
        )
    if kind == RowChangeKind.DELETE:
        if values:
            raise refuse("a DELETE has `values`.", "Omit them.")
        return RowChange(kind, key, expected)
    if not values:
        raise refuse("an UPDATE has no `values`.", "Pass the new values by column, or omit it.")
    expected = {name: key[name] for name in values if name in key} | expected
    if missing := [name for name in values if name not in expected]:
        raise refuse(
            f"`expected` lacks the old value of {', '.join(missing)}.",
            "Pass the value that each column of `values` had when the row was read.",
        )
    return RowChange(kind, key, expected, values)


def _to_values(
    found: object, name: str, refuse: Callable[[str, str], BadInput]
) -> dict[str, Any] | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise refuse(f"`{name}` is not an object.", 'Pass values by column, as in {"id": 1}.')
    for column, value in found.items():
        require_storable("changes", column)
        if not column:
            raise refuse(f"`{name}` has an empty name.", "Pass the name of a column.")
        match value:
            case str():
                require_storable("changes", value)
            case float() if not math.isfinite(value):
                raise refuse(
                    f"the number in `{name}.{column}` is too large for JSON.",
                    'Pass it as a string, such as "1e400".',
                )
            case list() | dict():
                raise refuse(
                    f"`{name}.{column}` is a list or an object.",
                    "Pass the value as the result shows it: arrays, composites and JSON are "
                    "strings in PostgreSQL's text format.",
                )
    return found
