"""`CatalogueReader`, which lists the schemas, tables and columns of a user's database."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from db.errors import TooLarge
from db.kit.base import OwnerId
from db.kit.paging import Page, SortOrder, Window, decode_cursor, make_page
from db.workbench.catalogue import catalogue_sql
from db.workbench.catalogue.fetching import read_catalogue
from db.workbench.catalogue.read_only_risks import READ_ONLY_RISKS, ReadOnlyRisk, parse_risks
from db.workbench.catalogue.rows import ColumnRow, SchemaRow, TableRow
from db.workbench.connections.workbench import Workbench

TIMEOUT_S = 5.0
MAX_COLUMNS = 50_000

_BY_NAME = SortOrder("name", descending=False)
_MAX_BIGINT = 2**63 - 1
_DATABASE = UUID(int=0)  # the parent of schemas: `catalogue_sql.SCHEMAS` selects 0 for it


class CatalogueReader:
    """Reads the catalogues of one owner's databases, each method with one statement.

    Each call borrows a connection of the workbench, which opens it if necessary, and raises what
    the workbench raises if that fails.
    """

    def __init__(self, workbench: Workbench, owner: OwnerId) -> None:
        self._workbench = workbench
        self._owner = owner

    async def schemas(
        self, connection_id: UUID, window: Window, *, include_system: bool = False
    ) -> Page[SchemaRow]:
        sql = _schemas_sql(include_system=include_system)
        found = await self._select_pages(connection_id, sql, [_DATABASE], window)
        return make_page([_schema_row(connection_id, row) for row in found], window, _BY_NAME)

    async def count_schemas(self, connection_id: UUID, *, include_system: bool = False) -> int:
        sql = _schemas_sql(include_system=include_system)
        return (await self._count(connection_id, sql, [_DATABASE]))[_DATABASE]

    async def named_schemas(
        self, connection_id: UUID, names: Sequence[str]
    ) -> Mapping[str, SchemaRow]:
        """Returns the schemas that exist, system schemas included, by name."""
        found = await self._fetch(
            connection_id, catalogue_sql.NAMED_SCHEMAS, [list(filter(_is_name, names))]
        )
        rows = [_schema_row(connection_id, row) for row in found]
        return {row.name: row for row in rows}

    async def tables(
        self, connection_id: UUID, schema_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[TableRow]]:
        """Returns the page at `window` for each schema."""
        found = await self._select_pages(connection_id, catalogue_sql.TABLES, schema_ids, window)
        rows: dict[UUID, list[TableRow]] = {schema_id: [] for schema_id in schema_ids}
        for row in found:
            rows[UUID(int=row[0])].append(_table_row(connection_id, row))
        return {schema_id: make_page(rows[schema_id], window, _BY_NAME) for schema_id in schema_ids}

    async def count_tables(
        self, connection_id: UUID, schema_ids: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        return await self._count(connection_id, catalogue_sql.TABLES, schema_ids)

    async def named_tables(
        self, connection_id: UUID, names: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], TableRow]:
        """Returns the tables that exist, by the names of their schema and of themselves."""
        wanted = [pair for pair in names if all(map(_is_name, pair))]
        schemas, tables = [schema for schema, _ in wanted], [table for _, table in wanted]
        found = await self._fetch(connection_id, catalogue_sql.NAMED_TABLES, [schemas, tables])
        rows = [_table_row(connection_id, row) for row in found]
        return {(row.schema_name, row.name): row for row in rows}

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

    async def read_only_risks(self, connection_id: UUID) -> list[ReadOnlyRisk]:
        """Returns the rights with which the role can make changes while it only reads."""
        rows = await self._fetch(connection_id, READ_ONLY_RISKS, [])
        return parse_risks(list(rows))

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
            found: Sequence[Any] = await read_catalogue(
                connection, lambda fetch: fetch(sql, values), TIMEOUT_S
            )
            return found


def _bound(cursor: str | None, field: str) -> tuple[str | None, int | None]:
    """Returns (name, OID) of a cursor, changed to values that PostgreSQL accepts."""
    if cursor is None:
        return None, None
    position = decode_cursor(cursor, _BY_NAME, kind=str, field=field)
    return position.key.replace("\0", ""), min(position.id.int, _MAX_BIGINT)


def _schemas_sql(*, include_system: bool) -> str:
    return catalogue_sql.SCHEMAS_AND_SYSTEM if include_system else catalogue_sql.SCHEMAS


def _schema_row(connection_id: UUID, selected: Sequence[Any]) -> SchemaRow:
    """Makes a row of a statement on schemas; pages have the row number as last column."""
    _, name, oid, comment, *_ = selected
    return SchemaRow(UUID(int=oid), connection_id, name, comment)


def _table_row(connection_id: UUID, selected: Sequence[Any]) -> TableRow:
    _, name, oid, schema, kind, comment, estimate, *_ = selected
    return TableRow(UUID(int=oid), connection_id, schema, name, kind, comment, estimate)


def _is_name(text: str) -> bool:
    """Whether PostgreSQL accepts the text as a value: no name contains NUL."""
    return "\0" not in text
