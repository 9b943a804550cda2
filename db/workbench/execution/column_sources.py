"""What the catalogue of a target knows of a result's columns, and libpq does not.

Asked once a run, when its rows are there: on the connection that they came by nothing else can be
asked before, and what was known of earlier runs may have changed.
"""

from collections.abc import Iterable, Sequence

import msgspec

from db.runs import Column
from db.workbench.connections.libpq import Connection
from db.workbench.execution import protocol

WITHIN_S = 1.0

# By the server's clock: a cancel of ours might come late, and hit what runs next.
_ASK = """
SET statement_timeout = {within_ms};
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
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
"""


async def described(
    connection: Connection, columns: Sequence[Column], origins: Sequence[protocol.Origin]
) -> list[Column]:
    """The same with the names of types that only the server knows, and where they come from."""
    types = sorted({column.type_oid for column in columns if not column.type})
    places = sorted({origin for origin in origins if origin.table_oid})
    if not types and not places:
        return list(columns)
    if protocol.has_failed(connection):
        await connection.execute("ROLLBACK")
    query = _ASK.format(
        within_ms=round(WITHIN_S * 1000),
        types=_listed(types),
        tables=_listed(place.table_oid for place in places),
        numbers=_listed(place.number for place in places),
    )
    rows = await protocol.look_up(connection, query, most=len(types) + len(places))
    names = {int(oid): text for oid, number, text, _ in rows if number == 0}
    tables = {(int(oid), number): about for oid, number, *about in rows if number != 0}
    return [
        _described(column, names.get(column.type_oid, ""), *tables.get(origin, (None, None)))
        for column, origin in zip(columns, origins, strict=True)
    ]


def _described(column: Column, type_name: str, table: str | None, nullable: bool | None) -> Column:  # noqa: FBT001
    return msgspec.structs.replace(
        column, type=column.type or type_name, table=table, nullable=nullable
    )


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
