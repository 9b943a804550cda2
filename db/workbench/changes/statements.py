"""Generates the SQL of changes, and refuses what the columns of the table do not allow."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from db.row_scans.type_oids import BOOL, FLOATS, INT2, INT4, INT8, OID, TEXT, UUID, VARCHAR
from db.runs import Failure
from db.workbench.changes.change_request import RowChange, RowChangeKind
from db.workbench.changes.failures import refused, suggest
from db.workbench.changes.table import CHANGEABLE, WITHOUT_KEYS, Table, TableColumn
from db.workbench.sql.quoting import quote_literal, quote_name

_TEXTS = (TEXT, VARCHAR)
_INTEGERS = (INT2, INT4, INT8, OID)
_EXACT = (BOOL, UUID, *_INTEGERS)
"""Types of which equal values have the same text, so that `=` compares what a result shows."""


class PlannedChange(NamedTuple):
    """A change and its SQL. `probe` selects the present row, and whether it is as expected."""

    change: RowChange
    statement: str
    probe: str | None


class ChangeRefused(Exception):
    """A change that the columns of the table do not allow."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ChangePlanner:
    """Writes the statements of one table."""

    def __init__(self, schema_name: str, table_name: str, table: Table) -> None:
        self._table = table
        self._columns = table.by_name
        self._name = f"{quote_name(schema_name)}.{quote_name(table_name)}"
        self._shown = ", ".join(quote_name(column.name) for column in table.readable)

    def plan(self, change: RowChange) -> PlannedChange:
        """Raises ChangeRefused."""
        self._check_columns(change)
        if change.kind == RowChangeKind.INSERT:
            return PlannedChange(change, self._insert(change) + self._returning, None)
        key, expected = self._key(change), self._expected(change)
        where = f" WHERE {' AND '.join([*key, *expected])}"
        is_as_expected = f"({' AND '.join(expected)}) IS TRUE" if expected else "true"
        selected = f"{self._shown}, {is_as_expected}" if self._shown else is_as_expected
        probe = f"SELECT {selected} FROM {self._name} WHERE {' AND '.join(key)} LIMIT 2"  # noqa: S608 - quoted
        if change.kind == RowChangeKind.DELETE:
            return PlannedChange(change, f"DELETE FROM {self._name}{where}", probe)  # noqa: S608
        values = self._literals(change.values)
        assigned = ", ".join(f"{quote_name(name)} = {text}" for name, text in values.items())
        update = f"UPDATE {self._name} SET {assigned}{where}{self._returning}"  # noqa: S608
        return PlannedChange(change, update, probe)

    def row(self, values: Iterable[Any]) -> dict[str, Any]:
        """Names the values that `statement` and `probe` return."""
        return dict(zip([column.name for column in self._table.readable], values, strict=False))

    @property
    def _returning(self) -> str:
        return f" RETURNING {self._shown}" if self._shown else ""

    def _insert(self, change: RowChange) -> str:
        if not change.values:
            return f"INSERT INTO {self._name} DEFAULT VALUES"
        values = self._literals(change.values)
        names = ", ".join(map(quote_name, values))
        return f"INSERT INTO {self._name} ({names}) VALUES ({', '.join(values.values())})"  # noqa: S608

    def _literals(self, values: Mapping[str, Any]) -> dict[str, str]:
        return {name: _literal(self._columns[name], value) for name, value in values.items()}

    def _key(self, change: RowChange) -> list[str]:
        """The conditions on the key, which an index can serve."""
        operators = self._operators(change)
        return [
            f"{quote_name(name)} {operators[name]} {_typed_literal(self._columns[name], value)}"
            for name, value in change.key.items()
        ]

    def _operators(self, change: RowChange) -> Mapping[str, str]:
        if self._table.kind in WITHOUT_KEYS:
            return dict.fromkeys(change.key, "=")
        keys = self._table.keys or []
        for key in keys:
            if key.keys() == change.key.keys():
                return key
        shown = " or ".join(f"({', '.join(key)})" for key in keys[:3])
        if not keys:
            raise ChangeRefused(
                refused(
                    f"The {CHANGEABLE[self._table.kind]} has no key, so its rows cannot be told "
                    "apart.",
                    "Add a primary key, or a unique constraint whose columns are NOT NULL.",
                )
            )
        raise ChangeRefused(
            refused(
                f"The columns of `key`, {', '.join(change.key)}, are not a key of the table.",
                f"Pass a value for each column of one key: {shown}.",
            )
        )

    def _expected(self, change: RowChange) -> list[str]:
        return [_matches(self._columns[name], value) for name, value in change.expected.items()]

    def _check_columns(self, change: RowChange) -> None:
        for name in sorted(change.names - self._columns.keys()):
            raise ChangeRefused(
                refused(
                    f'The table has no column "{name}".',
                    "Pass the name as it is in the catalogue, without quotes."
                    + suggest(name, self._columns),
                )
            )
        for name in change.values:
            if why := self._columns[name].why_computed:
                raise ChangeRefused(
                    refused(
                        f'The column "{name}" is {why}: PostgreSQL computes its value.',
                        "Omit the column from `values`.",
                    )
                )


def _literal(column: TableColumn, value: object) -> str:
    """A value to write. Without a type, so that PostgreSQL reads it as one of the column's."""
    match value:
        case None:
            return "NULL"
        case bool():
            text = "true" if value else "false"
            return text if column.base == BOOL else quote_literal(text)
        case int() if column.base in _INTEGERS:
            return str(value)
        case str():
            return quote_literal(value)
    return quote_literal(msgspec.json.encode(value).decode())


def _typed_literal(column: TableColumn, value: object) -> str:
    """A value to compare with, where PostgreSQL would not always infer the type of the column."""
    literal = _literal(column, value)
    is_plain = value is None or not literal.endswith("'") or column.base in _TEXTS
    return literal if is_plain else f"{literal}::{column.type}"


def _matches(column: TableColumn, value: object) -> str:
    """Whether the column has the value that a result shows, of any type, by its text.

    There is no `=` for json, xml or point; that of numeric, citext and other types finds values
    equal that a result shows differently.
    """
    name, literal = quote_name(column.name), _typed_literal(column, value)
    is_zero = value == 0 and isinstance(value, int)  # JavaScript writes -0 as 0
    if value is None or column.base in _EXACT or (column.base in FLOATS and is_zero):
        return f"{name} IS NOT DISTINCT FROM {literal}"
    if column.base in _TEXTS:
        return f'{name} COLLATE "C" IS NOT DISTINCT FROM {literal}'
    if column.base in FLOATS:
        return f"{_text_of(name)} = {_text_of(literal)}"
    if value == "":  # which is also the text of NULL
        return f"{name} IS DISTINCT FROM NULL AND {_text_of(name)} = ''"
    return f"{_text_of(name)} = {_literal(column, value)}"


def _text_of(expression: str) -> str:
    """The text that PostgreSQL sends to a client. A cast to text differs for inet, char or xml."""
    return f"pg_catalog.format('%s', {expression}) COLLATE \"C\""
