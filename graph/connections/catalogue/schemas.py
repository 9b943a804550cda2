"""The GraphQL type of schemas, by whose fields the other objects are found."""

from typing import Annotated

import strawberry

from db.kit.paging import Window
from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import (
    DatabasePrivilege,
    FunctionRow,
    IndexRow,
    SchemaRow,
    SequenceRow,
    TableRow,
    TypeRow,
    schemas,
)
from graph.connections.catalogue.functions import (
    DatabaseFunction,
    FunctionByKey,
    FunctionPages,
)
from graph.connections.catalogue.indexes import IndexByKey, TableIndex
from graph.connections.catalogue.loaders import ByKey, ObjectKey, PageKey, Pages
from graph.connections.catalogue.nodes import (
    catalogue_node,
    find_named,
    key_of,
    loaded_by,
)
from graph.connections.catalogue.privileges import PRIVILEGES, SchemaPrivileges
from graph.connections.catalogue.sequences import DatabaseSequence, SequenceByKey, SequencePages
from graph.connections.catalogue.tables import DatabaseTable, Name, TableByKey, TablePages
from graph.connections.catalogue.types import DatabaseType, TypeByKey, TypePages
from graph.context import Info
from graph.kit.fields import argument, attribute, field
from graph.kit.ids import Node
from graph.kit.paging import Connection, paged_by

TableName = Annotated[
    str, argument("Name of the table, without its schema, as the catalogue has it: unquoted.")
]


class SchemaByKey(ByKey):
    kind = schemas.EVERY_SCHEMA


class SchemaPages(Pages):
    kind = schemas.SCHEMAS


class EverySchemaPages(Pages):
    kind = schemas.EVERY_SCHEMA


@strawberry.type(
    description="A schema (namespace) of a connected database, read from its catalogue. "
    "PostgreSQL's TOAST and temporary schemas are omitted. Its ID stands for the connection and "
    "the name of the schema: a schema that is dropped and created again has the same ID, a "
    "renamed one has another."
)
@catalogue_node("schema", row=SchemaRow, loader=SchemaByKey, names=1, defined=DefinedKind.SCHEMA)
class DatabaseSchema(Node):
    name: str = attribute("Name of the schema.")
    owner: str = attribute("Role that owns the schema.")
    comment: str | None = attribute("Comment set with `COMMENT ON SCHEMA`. Null if there is none.")

    @field(
        "Tables, views, materialized views and foreign tables of the schema, ordered by name. "
        "Null if the database failed to answer.",
        type=Connection[DatabaseTable] | None,
    )
    @paged_by(TablePages)
    def tables(root: strawberry.Parent[SchemaRow], window: Window) -> PageKey:
        return PageKey(root.connection_id, root.id, window)

    @field(
        "Functions, procedures, aggregates and window functions of the schema, ordered by name. "
        "Null if the database failed to answer.",
        type=Connection[DatabaseFunction] | None,
    )
    @paged_by(FunctionPages)
    def functions(root: strawberry.Parent[SchemaRow], window: Window) -> PageKey:
        return PageKey(root.connection_id, root.id, window)

    @field(
        "Data types of the schema, ordered by name. Null if the database failed to answer.",
        type=Connection[DatabaseType] | None,
    )
    @paged_by(TypePages)
    def types(root: strawberry.Parent[SchemaRow], window: Window) -> PageKey:
        return PageKey(root.connection_id, root.id, window)

    @field(
        "Sequences of the schema, ordered by name. Null if the database failed to answer.",
        type=Connection[DatabaseSequence] | None,
    )
    @paged_by(SequencePages)
    def sequences(root: strawberry.Parent[SchemaRow], window: Window) -> PageKey:
        return PageKey(root.connection_id, root.id, window)

    @field(PRIVILEGES, type=list[DatabasePrivilege] | None)
    @loaded_by(SchemaPrivileges)
    def privileges(root: strawberry.Parent[SchemaRow]) -> ObjectKey:
        return key_of(root)

    @field(
        "Fetches a table, view, materialized view or foreign table of the schema by name. Null if "
        "it does not exist or the database failed to answer.",
        type=DatabaseTable | None,
    )
    async def table(
        root: strawberry.Parent[SchemaRow], info: Info, name: TableName
    ) -> TableRow | None:
        found: TableRow | None = await find_named(info, TableByKey, root, root.name, name)
        return found

    @field(
        "Fetches an index of the schema by name. Null if it does not exist or the database failed "
        "to answer.",
        type=TableIndex | None,
    )
    async def index(root: strawberry.Parent[SchemaRow], info: Info, name: Name) -> IndexRow | None:
        found: IndexRow | None = await find_named(info, IndexByKey, root, root.name, name)
        return found

    @field(
        "Fetches a function, procedure, aggregate or window function of the schema. Null if it "
        "does not exist or the database failed to answer.",
        type=DatabaseFunction | None,
    )
    async def function(
        root: strawberry.Parent[SchemaRow],
        info: Info,
        signature: Annotated[
            str, argument("Its `signature`: name and types of the input arguments: `lower(text)`.")
        ],
    ) -> FunctionRow | None:
        found: FunctionRow | None = await find_named(
            info, FunctionByKey, root, root.name, signature
        )
        return found

    @field(
        "Fetches a data type of the schema by name. Null if it does not exist or the database "
        "failed to answer.",
        type=DatabaseType | None,
    )
    async def type(root: strawberry.Parent[SchemaRow], info: Info, name: Name) -> TypeRow | None:
        found: TypeRow | None = await find_named(info, TypeByKey, root, root.name, name)
        return found

    @field(
        "Fetches a sequence of the schema by name. Null if it does not exist or the database "
        "failed to answer.",
        type=DatabaseSequence | None,
    )
    async def sequence(
        root: strawberry.Parent[SchemaRow], info: Info, name: Name
    ) -> SequenceRow | None:
        found: SequenceRow | None = await find_named(info, SequenceByKey, root, root.name, name)
        return found
