"""The GraphQL type of columns."""

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import ColumnGeneration, ColumnIdentity, ColumnRow, columns
from graph.connections.catalogue.loaders import ByKey, Lists
from graph.connections.catalogue.nodes import OF_DATABASE, catalogue_node, definition_field
from graph.kit.fields import attribute, graphql_enum
from graph.kit.ids import Node

graphql_enum(
    "How an identity column gets its value.",
    ALWAYS="From its sequence, unless the statement says `OVERRIDING SYSTEM VALUE`.",
    BY_DEFAULT="From its sequence if the statement gives no value.",
)(ColumnIdentity)
graphql_enum(
    "When a generated column is computed.",
    STORED="When the row is written.",
    VIRTUAL="When the row is read. Since PostgreSQL 18.",
)(ColumnGeneration)


class ColumnLists(Lists):
    kind = columns.COLUMNS


class ColumnByKey(ByKey):
    kind = columns.COLUMNS


@strawberry.type(
    description="A column of a `DatabaseTable`, or an attribute of a composite `DatabaseType`. "
    + OF_DATABASE
)
@catalogue_node("column", row=ColumnRow, loader=ColumnByKey, names=3)
class TableColumn(Node):
    schema_name: str = attribute("Name of the schema that contains the table.")
    table_name: str = attribute("Name of the table, or of the composite type.")
    name: str = attribute("Name of the column.")
    position: int = attribute(
        "Ordinal position in the table, starting at 1. Dropped columns leave gaps."
    )
    type: str = attribute("Type as PostgreSQL formats it, such as `numeric(10,2)[]`.")
    nullable: bool = attribute("False if the column has a `NOT NULL` constraint.")
    default: str | None = attribute(
        "SQL expression of the default value or of a generated column. Null if there is none.",
        long="default",
    )
    identity: ColumnIdentity | None = attribute(
        "How an identity column gets its value. Null for other columns."
    )
    generated: ColumnGeneration | None = attribute(
        "When a generated column is computed, from the expression in `default`. Null for other "
        "columns."
    )
    collation: str | None = attribute("Collation. Null if it is that of the type.")
    is_primary_key: bool = attribute("True if the column is part of the primary key.")
    references: str | None = attribute(
        "Table that a foreign key on the column references, as SQL names it: quoted where "
        "necessary, and with its schema unless the role's search path has it. `foreignKeys` of the "
        "table has all of them. Null if the column has no foreign key."
    )
    comment: str | None = attribute(
        "Comment set with `COMMENT ON COLUMN`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.COLUMN)
