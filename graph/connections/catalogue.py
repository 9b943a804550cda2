"""The catalogue of a connected database: schemas, tables and columns, one statement per level."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import strawberry

from db.errors import HowdahError
from db.kit.paging import Page, Window
from db.workbench.catalogue import CatalogueReader, ColumnRow, SchemaRow, TableKind, TableRow
from graph.context import Context, Info
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.loaders import BatchLoader
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scalars import BigInt


class PageKey(NamedTuple):
    """Identifies a page of the children of one parent, or their number if `window` is None."""

    connection_id: UUID
    parent: UUID
    window: Window | None


class SchemaLoader(BatchLoader[PageKey, Any]):
    """An error of one database fails its own keys only."""

    async def find(self, keys: list[PageKey]) -> Mapping[PageKey, Any]:
        reader = _reader(self.context)
        found: dict[PageKey, Any] = {}
        for key in keys:
            try:
                found[key] = (
                    await reader.count_schemas(key.connection_id)
                    if key.window is None
                    else await reader.schemas(key.connection_id, key.window)
                )
            except HowdahError as error:
                found[key] = error
        return found

    @classmethod
    async def listing(cls, context: Context, connection_id: UUID, page: Window) -> Listing:
        return await _listing(cls.of(context), PageKey(connection_id, connection_id, page))


class TableLoader(BatchLoader[PageKey, Any]):
    """Reads schemas of one database that request the same page with one statement."""

    async def find(self, keys: list[PageKey]) -> Mapping[PageKey, Any]:
        groups: dict[PageKey, list[UUID]] = {}
        for key in keys:
            groups.setdefault(key._replace(parent=UUID(int=0)), []).append(key.parent)
        found: dict[PageKey, Any] = {}
        for group, schema_ids in groups.items():
            try:
                results = await self._read(group, schema_ids)
            except HowdahError as error:
                results = dict.fromkeys(schema_ids, error)
            found |= {group._replace(parent=parent): result for parent, result in results.items()}
        return found

    async def _read(self, group: PageKey, schema_ids: Sequence[UUID]) -> Mapping[UUID, Any]:
        reader = _reader(self.context)
        if group.window is None:
            return await reader.count_tables(group.connection_id, schema_ids)
        return await reader.tables(group.connection_id, schema_ids, group.window)


class ColumnLoader(BatchLoader[tuple[UUID, UUID], list[ColumnRow]]):
    """Keys are (connection, table); the tables of one database share a statement."""

    async def find(
        self, keys: list[tuple[UUID, UUID]]
    ) -> Mapping[tuple[UUID, UUID], list[ColumnRow]]:
        reader = _reader(self.context)
        table_ids: dict[UUID, list[UUID]] = {}
        for connection_id, table_id in keys:
            table_ids.setdefault(connection_id, []).append(table_id)
        found: dict[tuple[UUID, UUID], list[ColumnRow]] = {}
        for connection_id, ids in table_ids.items():
            columns = await reader.columns(connection_id, ids)
            found |= {(connection_id, table_id): rows for table_id, rows in columns.items()}
        return found


graphql_enum(
    "Kind of a relation in the catalogue of a PostgreSQL database.",
    TABLE="An ordinary table or a partition.",
    PARTITIONED_TABLE="A partitioned table, which stores its rows in its partitions.",
    VIEW="A view.",
    MATERIALIZED_VIEW="A materialized view, which stores its rows as of the last refresh.",
    FOREIGN_TABLE="A table accessed through a foreign-data wrapper.",
)(TableKind)


@strawberry.type(
    description="A column of a `DatabaseTable`, read from the catalogue of the database."
)
class TableColumn:
    name: str = attribute("Name of the column.")
    position: int = attribute(
        "Ordinal position in the table, starting at 1. Dropped columns leave gaps."
    )
    type: str = attribute("Type as PostgreSQL formats it, such as `numeric(10,2)[]`.")
    nullable: bool = attribute("False if the column has a `NOT NULL` constraint.")
    default: str | None = attribute(
        "SQL expression of the default value or of a generated column. Null if there is none."
    )
    is_primary_key: bool = attribute("True if the column is part of the primary key.")
    references: str | None = attribute(
        "Table that a foreign key on the column references. Null if the column has no foreign key."
    )
    comment: str | None = attribute("Comment set with `COMMENT ON COLUMN`. Null if there is none.")


@strawberry.type(
    description="A table, view, materialized view or foreign table of a `DatabaseSchema`."
)
class DatabaseTable:
    name: str = attribute("Name of the table, without its schema.")
    comment: str | None = attribute("Comment set with `COMMENT ON`. Null if there is none.")
    row_estimate: int | None = attribute(
        "Number of rows as estimated by PostgreSQL's last `VACUUM` or `ANALYZE`. Null for views "
        "and if the table was never analyzed.",
        type=BigInt | None,
    )
    kind: TableKind = attribute("Kind of the relation.")

    @field(
        "All columns of the table, ordered by `position`. Null if the database failed to answer.",
        type=list[TableColumn] | None,
    )
    async def columns(root: strawberry.Parent[TableRow], info: Info) -> list[ColumnRow]:
        return await ColumnLoader.of(info.context).load((root.connection_id, root.id)) or []


@strawberry.type(
    description="A schema (namespace) of a connected database, read from its catalogue. "
    "PostgreSQL's TOAST and temporary schemas are omitted."
)
class DatabaseSchema:
    name: str = attribute("Name of the schema.")
    comment: str | None = attribute("Comment set with `COMMENT ON SCHEMA`. Null if there is none.")

    @field(
        "Tables, views, materialized views and foreign tables of the schema, ordered by name. "
        "Null if the database failed to answer.",
        type=Connection[DatabaseTable] | None,
    )
    @paged
    async def tables(root: strawberry.Parent[SchemaRow], info: Info, window: Window) -> Listing:
        loader = TableLoader.of(info.context)
        return await _listing(loader, PageKey(root.connection_id, root.id, window))


def _reader(context: Context) -> CatalogueReader:
    return CatalogueReader(context.services.workbench, context.owner)


async def _listing(loader: BatchLoader[PageKey, Any], key: PageKey) -> Listing:
    page: Page[Any] | None = await loader.load(key)
    assert page is not None  # noqa: S101 - the loader returns a page for each parent, even if empty

    async def count() -> int:
        return await loader.load(key._replace(window=None)) or 0

    return Listing(page, count)
