"""GraphQL types of the catalogue of a connected database: schemas, tables and columns."""

from collections.abc import Hashable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import strawberry

from db.kit.paging import Page, Window
from db.workbench.catalogue import (
    ColumnRow,
    ReadOnlyRiskKind,
    SchemaRow,
    TableKind,
    TableRow,
)
from graph.connections.loaders import (
    ColumnLists,
    ColumnsKey,
    SchemaByName,
    SchemaPages,
    SchemasKey,
    TableByName,
    TablePages,
    TablesKey,
)
from graph.context import Info
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.ids import ID_DESCRIPTION, NameKey, Node, named_id, node
from graph.kit.loaders import BatchLoader
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scalars import BigInt
from graph.kit.scopes import WORKBENCH

K = TypeVar("K", bound=Hashable)

SchemaName = Annotated[str, argument("Name of the schema, as the catalogue has it: unquoted.")]
TableName = Annotated[
    str, argument("Name of the table, without its schema, as the catalogue has it: unquoted.")
]

graphql_enum(
    "Kind of a relation in the catalogue of a PostgreSQL database.",
    TABLE="An ordinary table or a partition.",
    PARTITIONED_TABLE="A partitioned table, which stores its rows in its partitions.",
    VIEW="A view.",
    MATERIALIZED_VIEW="A materialized view, which stores its rows as of the last refresh.",
    FOREIGN_TABLE="A table accessed through a foreign-data wrapper.",
)(TableKind)


graphql_enum(
    "A right with which a role can make lasting changes from a read-only transaction.",
    SUPERUSER="The role is a superuser, or a member of one.",
    SERVER_PROGRAMS="The role can run programs on the server: `COPY ... TO PROGRAM`.",
    SERVER_FILES="The role can write files on the server: `COPY ... TO 'file'`.",
    REPLICATION="The role can create and drop replication slots.",
    EXTENSION="The role can execute functions of an extension that acts outside the transaction, "
    "such as `dblink`.",
    FOREIGN_SERVER="The role can use a foreign server: its views and functions run in a "
    "transaction of the foreign server, which is not read-only.",
    UNTRUSTED_LANGUAGE="The role can execute functions in an untrusted language, such as "
    "`plpython3u`, or written in C outside an extension.",
)(ReadOnlyRiskKind)


@strawberry.type(
    description="A right of a connection's role with which a statement could make lasting changes "
    "although it runs in a read-only transaction."
)
class ReadOnlyRisk:
    kind: ReadOnlyRiskKind = attribute("Kind of the right.")
    name: str = attribute("Name of the role, extension, foreign server or language.")


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
    description="A table, view, materialized view or foreign table of a `DatabaseSchema`. Its ID "
    "stands for the connection and the names of schema and table: a table that is dropped and "
    "created again has the same ID, a renamed one has another."
)
@node("table", row=TableRow, loader=TableByName, scopes=WORKBENCH.read, names=2)
class DatabaseTable(Node):
    schema_name: str = attribute("Name of the schema that contains the table.")
    name: str = attribute("Name of the table, without its schema.")
    comment: str | None = attribute("Comment set with `COMMENT ON`. Null if there is none.")
    row_estimate: int | None = attribute(
        "Number of rows as estimated by PostgreSQL's last `VACUUM` or `ANALYZE`. Null for views "
        "and if the table was never analyzed.",
        type=BigInt | None,
    )
    kind: TableKind = attribute("Kind of the relation.")

    @field(ID_DESCRIPTION)
    def id(root: strawberry.Parent[TableRow]) -> strawberry.ID:
        return named_id("table", NameKey(root.connection_id, (root.schema_name, root.name)))

    @field(
        "All columns of the table, ordered by `position`. Null if the database failed to answer.",
        type=list[TableColumn] | None,
    )
    async def columns(root: strawberry.Parent[TableRow], info: Info) -> list[ColumnRow]:
        key = ColumnsKey(root.connection_id, root.id)
        return await ColumnLists.of(info.context).load(key) or []


@strawberry.type(
    description="A schema (namespace) of a connected database, read from its catalogue. "
    "PostgreSQL's TOAST and temporary schemas are omitted. Its ID stands for the connection and "
    "the name of the schema: a schema that is dropped and created again has the same ID, a "
    "renamed one has another."
)
@node("schema", row=SchemaRow, loader=SchemaByName, scopes=WORKBENCH.read, names=1)
class DatabaseSchema(Node):
    name: str = attribute("Name of the schema.")
    comment: str | None = attribute("Comment set with `COMMENT ON SCHEMA`. Null if there is none.")

    @field(ID_DESCRIPTION)
    def id(root: strawberry.Parent[SchemaRow]) -> strawberry.ID:
        return named_id("schema", NameKey(root.connection_id, (root.name,)))

    @field(
        "Tables, views, materialized views and foreign tables of the schema, ordered by name. "
        "Null if the database failed to answer.",
        type=Connection[DatabaseTable] | None,
    )
    @paged
    async def tables(root: strawberry.Parent[SchemaRow], info: Info, window: Window) -> Listing:
        return await list_tables(info, root, window)

    @field(
        "Fetches a table, view, materialized view or foreign table of the schema by name. Null if "
        "it does not exist or the database failed to answer.",
        type=DatabaseTable | None,
    )
    async def table(
        root: strawberry.Parent[SchemaRow], info: Info, name: TableName
    ) -> TableRow | None:
        return await find_table(info, root.connection_id, root.name, name)


async def list_schemas(
    info: Info, connection_id: UUID, window: Window, *, include_system: bool
) -> Listing:
    loader = SchemaPages.of(info.context)
    key = SchemasKey(connection_id, window, include_system)
    return await _listing(loader, key, key._replace(window=None))


async def find_schema(info: Info, connection_id: UUID, name: str) -> SchemaRow | None:
    return await SchemaByName.of(info.context).load(NameKey(connection_id, (name,)))


async def list_tables(info: Info, schema: SchemaRow, window: Window) -> Listing:
    loader = TablePages.of(info.context)
    key = TablesKey(schema.connection_id, schema.id, window)
    return await _listing(loader, key, key._replace(window=None))


async def find_table(
    info: Info, connection_id: UUID, schema_name: str, name: str
) -> TableRow | None:
    return await TableByName.of(info.context).load(NameKey(connection_id, (schema_name, name)))


async def _listing(loader: BatchLoader[K, Any], page_key: K, count_key: K) -> Listing:
    page: Page[Any] | None = await loader.load(page_key)
    assert page is not None  # noqa: S101 - the loader returns a page for each parent, even if empty

    async def count() -> int:
        return await loader.load(count_key) or 0

    return Listing(page, count)
