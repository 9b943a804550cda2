"""`CatalogueReader`, which lists the schemas, tables and columns of a user's database."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import TimedOut, TooLarge
from db.kit.base import OwnerId
from db.kit.paging import Page, SortOrder, Window, decode_cursor, make_page
from db.workbench.catalogue import catalogue_sql
from db.workbench.catalogue.rows import ColumnRow, SchemaRow, TableRow
from db.workbench.connections.workbench import Workbench

if TYPE_CHECKING:  # psycopg is imported with the first connection
    from db.workbench.connections.libpq import Connection

TIMEOUT_S = 5.0
MAX_COLUMNS = 50_000

_BY_NAME = SortOrder("name", descending=False)
_MAX_BIGINT = 2**63 - 1
_DATABASE = UUID(int=0)  # the parent of schemas: `catalogue_sql.SCHEMAS` selects 0 for it

R = TypeVar("R", bound=NamedTuple)


class CatalogueReader:
    """Reads the catalogues of one owner's databases, each method with one statement.

    Each call borrows a connection of the workbench, which opens it if necessary, and raises what
    the workbench raises if that fails.
    """

    def __init__(self, workbench: Workbench, owner: OwnerId) -> None:
        self._workbench = workbench
        self._owner = owner

    async def schemas(self, connection_id: UUID, window: Window) -> Page[SchemaRow]:
        found = await self._select_pages(connection_id, catalogue_sql.SCHEMAS, [_DATABASE], window)
        rows = [
            SchemaRow(UUID(int=oid), connection_id, name, comment)
            for _, name, oid, comment, _ in found
        ]
        return _page(rows, SchemaRow._make, window)

    async def count_schemas(self, connection_id: UUID) -> int:
        counts = await self._count(connection_id, catalogue_sql.SCHEMAS, [_DATABASE])
        return counts[_DATABASE]

    async def tables(
        self, connection_id: UUID, schema_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[TableRow]]:
        """Returns the page at `window` for each schema."""
        found = await self._select_pages(connection_id, catalogue_sql.TABLES, schema_ids, window)
        rows: dict[UUID, list[TableRow]] = {schema_id: [] for schema_id in schema_ids}
        for schema, name, oid, kind, comment, estimate, _ in found:
            row = TableRow(UUID(int=oid), connection_id, name, kind, comment, estimate)
            rows[UUID(int=schema)].append(row)
        return {
            schema_id: _page(rows[schema_id], TableRow._make, window) for schema_id in schema_ids
        }

    async def count_tables(
        self, connection_id: UUID, schema_ids: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        return await self._count(connection_id, catalogue_sql.TABLES, schema_ids)

    async def columns(
        self, connection_id: UUID, table_ids: Sequence[UUID]
    ) -> Mapping[UUID, list[ColumnRow]]:
        """Returns all columns of each table.

        Raises:
            TooLarge: The tables have more than `MAX_COLUMNS` columns together.
        """
        oids = [table_id.int for table_id in table_ids]
        found = await self._fetch(connection_id, catalogue_sql.COLUMNS, [oids, MAX_COLUMNS + 1])
        if len(found) > MAX_COLUMNS:
            raise TooLarge(
                f"The requested tables have more than {MAX_COLUMNS} columns together.",
                hint="Request the columns of fewer tables at once.",
            )
        by_table: dict[UUID, list[ColumnRow]] = {table_id: [] for table_id in table_ids}
        for oid, *column in found:
            by_table[UUID(int=oid)].append(ColumnRow(*column))
        return by_table

    async def _select_pages(
        self, connection_id: UUID, items: str, parents: Sequence[UUID], window: Window
    ) -> Sequence[Any]:
        """Selects one row more than requested for each parent, which shows if more follow."""
        oids = [parent.int for parent in parents]
        sql = catalogue_sql.keyset_page(items, backward=window.backward)
        bounds = [*_bound(window.after, "after"), *_bound(window.before, "before")]
        return await self._fetch(connection_id, sql, [oids, *bounds, window.size + 1])

    async def _count(
        self, connection_id: UUID, items: str, parents: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        oids = [parent.int for parent in parents]
        counts = dict(await self._fetch(connection_id, catalogue_sql.count_items(items), [oids]))
        return {parent: counts.get(parent.int, 0) for parent in parents}

    async def _fetch(self, connection_id: UUID, sql: str, values: list[Any]) -> Sequence[Any]:
        async with self._workbench.lend(self._owner, connection_id) as connection:
            return await _fetch_all(connection, sql, values)


async def _fetch_all(connection: "Connection", sql: str, values: list[Any]) -> Sequence[Any]:
    from psycopg import AsyncRawCursor, OperationalError  # a driver, imported at first use
    from psycopg.errors import QueryCanceled

    from db.workbench.connections.libpq import abort_after

    try:
        # The server's timeout comes first; the second one is for a server that does not answer.
        with abort_after(connection, TIMEOUT_S + 1):
            async with connection.transaction(), AsyncRawCursor(connection) as cursor:
                await cursor.execute(f"SET LOCAL statement_timeout = {TIMEOUT_S * 1000:.0f}")
                await cursor.execute(sql, values)
                return await cursor.fetchall()
    except (QueryCanceled, OperationalError):
        raise TimedOut(
            f"The database did not return its catalogue within {TIMEOUT_S:.0f} seconds.",
            hint="Request fewer schemas, tables or columns at once, or try again later.",
        ) from None


def _bound(cursor: str | None, field: str) -> tuple[str | None, int | None]:
    """Returns (name, OID) of a cursor, changed to values that PostgreSQL accepts."""
    if cursor is None:
        return None, None
    position = decode_cursor(cursor, _BY_NAME, kind=str, field=field)
    return position.key.replace("\0", ""), min(position.id.int, _MAX_BIGINT)


def _page(rows: Sequence[R], make: Callable[[Iterable[Any]], R], window: Window) -> Page[R]:
    return make_page([make(row) for row in rows], window, _BY_NAME)
