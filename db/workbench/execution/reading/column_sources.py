"""Type names, source tables, keys and nullability of result columns, read from the catalogue.

libpq gives only OIDs. The query runs once a run, after the last row: the connection is busy before
that. Nothing is cached, because tables and types may change between runs.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple, Self, TypeAlias

import msgspec
import psycopg

from db.runs import Column
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.connections.libpq import Connection, command
from db.workbench.execution.reading import protocol
from db.workbench.sql.pinned import pinned

TIMEOUT_S = 1.0
MAX_INDEXES = 1_000
"""Unique indexes that are searched for the keys of a result."""

_TIMEOUT_MS = round(TIMEOUT_S * 1000)


class Frame(NamedTuple):
    """SQL before and after the query, and after an error, which leaves the connection as it was.

    The query is limited by `statement_timeout`: a cancel request might arrive late and hit the next
    statement.
    """

    begin: str
    end: str = ""
    recover: str = ""


ALONE = Frame(begin=f"SET statement_timeout = {_TIMEOUT_MS};")
"""On a connection whose settings and transaction are reset after the run."""
IDLE = Frame(
    begin=f"BEGIN READ ONLY; SET LOCAL statement_timeout = {_TIMEOUT_MS};",
    end="; ROLLBACK",
    recover="ROLLBACK",
)
"""On a connection that keeps its settings, outside a transaction."""
IN_TRANSACTION = Frame(
    begin=f"SAVEPOINT howdah_columns; SET LOCAL statement_timeout = {_TIMEOUT_MS};",
    end="; ROLLBACK TO howdah_columns; RELEASE howdah_columns",
    recover="ROLLBACK TO howdah_columns; RELEASE howdah_columns",
)
"""On a connection that keeps its settings, inside a transaction of the user."""

# Rows: types, whose number is 0; columns; and unique indexes, whose number is null. A table with
# children may repeat a key, and those of PostgreSQL itself cannot be edited, so neither has keys.
_SOURCES = pinned("""
SELECT oid::int8, 0, pg_catalog.format_type(oid, NULL), NULL::bool, NULL::bool, NULL, NULL, NULL
FROM pg_catalog.pg_type WHERE oid = ANY ('{{{types}}}'::oid[])
UNION ALL
SELECT a.attrelid, a.attnum, pg_catalog.format('%I.%I', n.nspname, c.relname),
       CASE WHEN c.relkind = ANY ('{{r,p,f}}')
            THEN NOT (a.attnotnull OR t.typtype = 'd' AND t.typnotnull) END,
       c.relkind = 'p' OR c.relkind = 'r' AND NOT c.relhassubclass,
       n.nspname, c.relname, a.attname
FROM ROWS FROM (pg_catalog.unnest('{{{tables}}}'::oid[]),
  pg_catalog.unnest('{{{numbers}}}'::int2[])) AS asked (attrelid, attnum)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = asked.attrelid AND a.attnum = asked.attnum
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
UNION ALL (
SELECT indrelid, NULL, indkey::text, indisprimary, NULL, indnkeyatts::text, NULL, NULL
FROM pg_catalog.pg_index
WHERE indrelid = ANY ('{{{tables}}}'::oid[]) AND indrelid >= 16384::oid
    AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
LIMIT {max_indexes})""")


async def describe(
    connection: Connection,
    columns: Sequence[Column],
    origins: Sequence[protocol.Origin],
    frame: Frame = ALONE,
) -> list[Column]:
    """The columns with the type names that libpq does not know, their tables and nullability."""
    types = sorted({column.type_oid for column in columns if not column.type})
    table_columns = sorted({origin for origin in origins if origin.table_oid})
    if not types and not table_columns:
        return list(columns)
    if protocol.has_failed(connection):
        if frame is not ALONE:
            return list(columns)
        await command(connection, "ROLLBACK")
    query = _SOURCES.format(
        max_indexes=MAX_INDEXES,
        types=_join(types),
        tables=_join(origin.table_oid for origin in table_columns),
        numbers=_join(origin.number for origin in table_columns),
    )
    max_rows = len(types) + len(table_columns) + MAX_INDEXES
    rows = await _query(connection, query, frame, max_rows=max_rows)
    names = {int(row.oid): row.text or "" for row in rows if row.number == 0}
    sources = {protocol.Origin(int(row.oid), row.number): row for row in rows if row.number}
    keys = _find_keys(map(_Index.of, (row for row in rows if row.number is None)), sources)
    return [
        _with_source(
            msgspec.structs.replace(column, type=column.type or names.get(column.type_oid, "")),
            sources.get(origin),
            key=keys.get(origin.table_oid, ()),
            number=origin.number,
        )
        for column, origin in zip(columns, origins, strict=True)
    ]


async def _query(
    connection: Connection, query: str, frame: Frame, *, max_rows: int
) -> list["_Row"]:
    text = frame.begin + query + frame.end
    try:
        rows = await protocol.query_catalogue(connection, text, _Row, max_rows=max_rows)
        if frame.recover and not connection.closed and protocol.has_failed(connection):
            await command(connection, frame.recover)
    except psycopg.Error:
        if frame.recover:
            connection.finish()  # the transaction of the user may hold what is not theirs
        raise
    return rows


_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=protocol.MAX_NAME_CHARS)]


class _Row(NamedTuple):
    """A row of the query; the names are those of the row of a column."""

    oid: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,10}$")]
    number: int | None
    text: _Text | None
    nullable: bool | None
    may_have_key: bool | None
    schema_name: _Text | None
    table_name: _Text | None
    column_name: _Text | None


class _Index(NamedTuple):
    """A unique index on columns of a table."""

    table: int
    numbers: frozenset[int]
    is_primary: bool

    @classmethod
    def of(cls, row: _Row) -> Self:
        try:
            numbers = (row.text or "").split()[: int(row.schema_name or 0)]
            return cls(int(row.oid), frozenset(map(int, numbers)), bool(row.nullable))
        except ValueError as error:
            raise UnexpectedRows from error


def _find_keys(
    indexes: Iterable[_Index], sources: Mapping[protocol.Origin, _Row]
) -> Mapping[int, frozenset[int]]:
    """The columns that identify a row, by table. A table of which the result cannot tell is absent.

    A key that the result has completely comes first, then the primary key. Takes linear time,
    because a hostile server may answer with thousands of tables, each with an index.
    """
    without_key = {origin.table_oid for origin, row in sources.items() if not row.may_have_key}
    best: dict[int, tuple[tuple[bool, bool, int], frozenset[int]]] = {}
    for index in indexes:
        shown = [sources.get(protocol.Origin(index.table, number)) for number in index.numbers]
        is_partial = not all(row is not None and row.nullable is False for row in shown)
        if index.table in without_key or (is_partial and not index.is_primary):
            continue
        rank = is_partial, not index.is_primary, len(index.numbers)
        if index.table not in best or rank < best[index.table][0]:
            best[index.table] = rank, index.numbers
    return {table: numbers for table, (_, numbers) in best.items()}


def _with_source(
    column: Column, source: _Row | None, *, key: Collection[int], number: int
) -> Column:
    if source is None:
        return column
    return msgspec.structs.replace(
        column,
        table=source.text,
        nullable=source.nullable,
        schema_name=source.schema_name,
        table_name=source.table_name,
        column_name=source.column_name,
        key_size=len(key) if number in key else 0,
    )


def _join(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
