"""The GraphQL type of schemas, by whose fields the other objects are found."""

from typing import Annotated

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import (
    DatabasePrivilege,
    FunctionRow,
    SchemaRow,
    schemas,
)
from graph.connections.catalogue.functions import (
    DatabaseFunction,
    FunctionByKey,
    FunctionPages,
)
from graph.connections.catalogue.indexes import IndexByKey, TableIndex
from graph.connections.catalogue.loaders import ByKey, Pages
from graph.connections.catalogue.nodes import (
    catalogue_node,
    definition_field,
    listed_field,
    loaded_field,
    named_field,
)
from graph.connections.catalogue.privileges import PRIVILEGES, SchemaPrivileges
from graph.connections.catalogue.sequences import DatabaseSequence, SequenceByKey, SequencePages
from graph.connections.catalogue.tables import DatabaseTable, TableByKey, TablePages
from graph.connections.catalogue.types import DatabaseType, TypeByKey, TypePages
from graph.context import Info
from graph.kit.fields import argument, attribute, field
from graph.kit.ids import NameKey, Node

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
@catalogue_node("schema", row=SchemaRow, loader=SchemaByKey, names=1)
class DatabaseSchema(Node):
    name: str = attribute("Name of the schema.")
    owner: str = attribute("Role that owns the schema.")
    comment: str | None = attribute(
        "Comment set with `COMMENT ON SCHEMA`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.SCHEMA)

    tables = listed_field(
        "Tables, views, materialized views and foreign tables of the schema, ordered by name.",
        DatabaseTable,
        TablePages,
    )

    functions = listed_field(
        "Functions, procedures, aggregates and window functions of the schema, ordered by name.",
        DatabaseFunction,
        FunctionPages,
    )

    types = listed_field(
        "Data types of the schema, ordered by name.",
        DatabaseType,
        TypePages,
    )

    sequences = listed_field(
        "Sequences of the schema, ordered by name.",
        DatabaseSequence,
        SequencePages,
    )

    privileges = loaded_field(
        PRIVILEGES,
        list[DatabasePrivilege] | None,
        SchemaPrivileges,
    )

    table = named_field(
        "Fetches a table, view, materialized view or foreign table of the schema by name.",
        DatabaseTable,
        TableByKey,
    )
    index = named_field("Fetches an index of the schema by name.", TableIndex, IndexByKey)

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
        key = NameKey(root.connection_id, (root.name, signature))
        found: FunctionRow | None = await FunctionByKey.of(info.context).load(key)
        return found

    type = named_field("Fetches a data type of the schema by name.", DatabaseType, TypeByKey)

    sequence = named_field(
        "Fetches a sequence of the schema by name.", DatabaseSequence, SequenceByKey
    )
