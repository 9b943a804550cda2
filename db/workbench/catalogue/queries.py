"""What there is in a user's database: schemas, tables, columns, as its catalogue tells.

Lists are keyset pages over (name, oid). Rows of many parents come by one statement.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import TimedOut, TooLarge
from db.kit.paging import Page, SortOrder, Window, decode_cursor, make_page

BY_NAME = SortOrder("name", descending=False)
WITHIN_S = 5.0
MOST_COLUMNS = 50_000
_LARGEST = 2**63 - 1

R = TypeVar("R", bound=NamedTuple)


class SchemaRow(NamedTuple):
    """A schema; its id is its oid."""

    id: UUID
    connection_id: UUID
    name: str
    comment: str | None


class TableRow(NamedTuple):
    """A table, view or whatever else has columns."""

    id: UUID
    connection_id: UUID
    name: str
    kind: str
    comment: str | None
    row_estimate: int | None


class ColumnRow(NamedTuple):
    """A column of a table."""

    name: str
    position: int
    type: str
    nullable: bool
    default: str | None
    is_primary_key: bool
    references: str | None
    comment: str | None


_PAGE = """
SELECT * FROM (
  SELECT item.*, row_number() OVER (
    PARTITION BY parent ORDER BY name {way}, id {way}) AS place
  FROM ({items}) AS item
  WHERE ($2::text IS NULL OR (name, id) > ($2::text COLLATE "C", $3::bigint))
    AND ($4::text IS NULL OR (name, id) < ($4::text COLLATE "C", $5::bigint))
) AS page WHERE place <= $6::bigint ORDER BY parent, place
"""
_SCHEMAS = """
SELECT 0::bigint AS parent, nspname::text COLLATE "C" AS name, oid::bigint AS id,
       obj_description(oid, 'pg_namespace') AS comment
FROM pg_namespace
WHERE $1::bigint[] IS NOT NULL AND nspname !~ '^pg_(toast|temp_)'
"""
_TABLES = """
SELECT relnamespace::bigint AS parent, relname::text COLLATE "C" AS name, oid::bigint AS id,
       CASE relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED_TABLE' WHEN 'v' THEN 'VIEW'
                    WHEN 'm' THEN 'MATERIALIZED_VIEW' ELSE 'FOREIGN_TABLE' END AS kind,
       obj_description(oid, 'pg_class') AS comment,
       CASE WHEN relkind = 'v' OR reltuples < 0 THEN NULL ELSE reltuples::bigint END AS rows
FROM pg_class
WHERE relnamespace = ANY($1::bigint[]::oid[]) AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attrelid::bigint, a.attname::text, a.attnum::int,
       format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), coalesce(k.is_key, false), k.target,
       col_description(a.attrelid, a.attnum)
FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
  SELECT bool_or(contype = 'p') AS is_key,
         min(confrelid::regclass::text) FILTER (WHERE contype = 'f') AS target
  FROM pg_constraint WHERE conrelid = a.attrelid AND a.attnum = ANY(conkey)
) AS k ON true
WHERE a.attrelid = ANY($1::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum LIMIT $2::bigint
"""


async def schemas(connection: Any, connection_id: UUID, window: Window) -> Page[SchemaRow]:
    found = await _pages(connection, _SCHEMAS, [0], window)
    rows = [
        SchemaRow(UUID(int=oid), connection_id, name, comment) for _, name, oid, comment, _ in found
    ]
    return _page(rows, SchemaRow._make, window)


async def count_schemas(connection: Any) -> int:
    found = await _run(connection, f"SELECT count(*) FROM ({_SCHEMAS}) AS item", [[0]])  # noqa: S608 - ours
    return int(found[0][0])


async def tables(
    connection: Any, connection_id: UUID, parents: Sequence[UUID], window: Window
) -> Mapping[UUID, Page[TableRow]]:
    """Of each schema the same page."""
    found = await _pages(connection, _TABLES, [parent.int for parent in parents], window)
    rows: dict[int, list[TableRow]] = {parent.int: [] for parent in parents}
    for parent, name, oid, kind, comment, estimate, _ in found:
        rows[parent].append(TableRow(UUID(int=oid), connection_id, name, kind, comment, estimate))
    return {parent: _page(rows[parent.int], TableRow._make, window) for parent in parents}


async def count_tables(connection: Any, parents: Sequence[UUID]) -> Mapping[UUID, int]:
    sql = f"SELECT parent, count(*) FROM ({_TABLES}) AS item GROUP BY parent"  # noqa: S608 - ours
    found = dict(await _run(connection, sql, [[parent.int for parent in parents]]))
    return {parent: found.get(parent.int, 0) for parent in parents}


async def columns(connection: Any, parents: Sequence[UUID]) -> Mapping[UUID, list[ColumnRow]]:
    oids = [parent.int for parent in parents]
    found = await _run(connection, _COLUMNS, [oids, MOST_COLUMNS + 1])
    if len(found) > MOST_COLUMNS:
        raise TooLarge(
            f"These tables have more than {MOST_COLUMNS} columns together.",
            hint="Ask for the columns of fewer tables at once.",
        )
    by_table: dict[UUID, list[ColumnRow]] = {parent: [] for parent in parents}
    for oid, *column in found:
        by_table[UUID(int=oid)].append(ColumnRow(*column))
    return by_table


async def _pages(connection: Any, items: str, parents: list[int], window: Window) -> Sequence[Any]:
    """One row more than asked for of each parent: it tells whether there are more."""
    sql = _PAGE.format(items=items, way="DESC" if window.backward else "ASC")
    bounds: list[Any] = []
    for field, cursor in (("after", window.after), ("before", window.before)):
        if cursor is None:
            bounds += [None, None]
        else:
            place = decode_cursor(cursor, BY_NAME, kind=str, field=field)
            bounds += [place.key.replace("\0", ""), min(place.id.int, _LARGEST)]
    return await _run(connection, sql, [parents, *bounds, window.size + 1])


async def _run(connection: Any, sql: str, values: list[Any]) -> Sequence[Any]:
    from psycopg import AsyncRawCursor, OperationalError  # a driver, imported at first use
    from psycopg.errors import QueryCanceled

    from db.workbench.connections.libpq import abort_after

    try:
        with abort_after(connection, WITHIN_S + 1):
            async with connection.transaction(), AsyncRawCursor(connection) as cursor:
                await cursor.execute(f"SET LOCAL statement_timeout = {WITHIN_S * 1000:.0f}")
                await cursor.execute(sql, values)
                return await cursor.fetchall()
    except (QueryCanceled, OperationalError):
        raise TimedOut(
            "The database did not tell what is in it in time.",
            hint="Ask for fewer schemas, tables or columns at once, or try again later.",
        ) from None


def _page(rows: Sequence[R], make: Callable[[Iterable[Any]], R], window: Window) -> Page[R]:
    return make_page([make(row) for row in rows], window, BY_NAME)
