"""Type names, source tables and nullability of result columns, read from the catalogue.

libpq gives only OIDs. The query runs once a run, after the last row: the connection is busy before
that. Nothing is cached, because tables and types may change between runs.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg

from db.runs import Column
from db.workbench.connections.libpq import Connection, command
from db.workbench.execution.statement import protocol

TIMEOUT_S = 1.0

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

_SOURCES = """
SELECT oid::int8, 0, pg_catalog.format_type(oid, NULL), NULL::bool
FROM pg_catalog.pg_type WHERE oid = ANY ('{{{types}}}'::oid[])
UNION ALL
SELECT a.attrelid, a.attnum, pg_catalog.format('%I.%I', n.nspname, c.relname),
       CASE WHEN c.relkind IN ('r', 'p', 'f')
            THEN NOT (a.attnotnull OR t.typtype = 'd' AND t.typnotnull) END
FROM unnest('{{{tables}}}'::oid[], '{{{numbers}}}'::int2[]) AS asked (attrelid, attnum)
JOIN pg_catalog.pg_attribute AS a USING (attrelid, attnum)
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid"""


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
        await connection.execute("ROLLBACK")
    query = _SOURCES.format(
        types=_join(types),
        tables=_join(origin.table_oid for origin in table_columns),
        numbers=_join(origin.number for origin in table_columns),
    )
    rows = await _query(connection, query, frame, max_rows=len(types) + len(table_columns))
    names = {int(oid): text for oid, number, text, _ in rows if number == 0}
    tables = {(int(oid), number): about for oid, number, *about in rows if number != 0}
    return [
        _with_source(column, names.get(column.type_oid, ""), *tables.get(origin, (None, None)))
        for column, origin in zip(columns, origins, strict=True)
    ]


async def _query(
    connection: Connection, query: str, frame: Frame, *, max_rows: int
) -> list[tuple[Any, ...]]:
    text = frame.begin + query + frame.end
    try:
        rows = await protocol.query_catalogue(connection, text, max_rows=max_rows)
        if frame.recover and not connection.closed and protocol.has_failed(connection):
            await command(connection, frame.recover)
    except psycopg.Error:
        if frame.recover:
            connection.finish()  # the transaction of the user may hold what is not theirs
        raise
    return rows


def _with_source(
    column: Column,
    type_name: str,
    table: str | None,
    nullable: bool | None,  # noqa: FBT001 - from a row
) -> Column:
    return msgspec.structs.replace(
        column, type=column.type or type_name, table=table, nullable=nullable
    )


def _join(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
