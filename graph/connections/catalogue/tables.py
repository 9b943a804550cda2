"""The GraphQL types of tables and their constraints, which refer to each other."""

import strawberry

from db.kit.lists.paging import Window
from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import (
    ConstraintKind,
    ConstraintRow,
    DatabasePrivilege,
    ForeignKeyAction,
    TableDetails,
    TableKind,
    TableRow,
    constraints,
    tables,
)
from graph.connections.catalogue.columns import ColumnByKey, ColumnLists, TableColumn
from graph.connections.catalogue.indexes import IndexLists, Sizes, TableIndex
from graph.connections.catalogue.loaders import (
    ByKey,
    Facts,
    Lists,
    ObjectKey,
    PageKey,
    Pages,
    TextFacts,
)
from graph.connections.catalogue.nodes import (
    OF_DATABASE,
    catalogue_node,
    definition_field,
    loaded_by,
    loaded_field,
    named_field,
)
from graph.connections.catalogue.privileges import PRIVILEGES, TablePrivileges
from graph.connections.catalogue.rules import (
    PolicyByKey,
    PolicyLists,
    TablePolicy,
    TableTrigger,
    TriggerByKey,
    TriggerLists,
)
from graph.context import Info
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.ids import NameKey, Node
from graph.kit.paging import Connection, paged_by
from graph.kit.scalars import BigInt

graphql_enum(
    "Kind of a relation in the catalogue of a PostgreSQL database.",
    TABLE="An ordinary table or a partition.",
    PARTITIONED_TABLE="A partitioned table, which stores its rows in its partitions.",
    VIEW="A view.",
    MATERIALIZED_VIEW="A materialized view, which stores its rows as of the last refresh.",
    FOREIGN_TABLE="A table accessed through a foreign-data wrapper.",
)(TableKind)
graphql_enum(
    "Kind of a `TableConstraint`.",
    CHECK="A condition that each row has to meet.",
    EXCLUSION="No two rows may match by certain operators.",
    FOREIGN_KEY="Values have to exist in another table.",
    PRIMARY_KEY="The primary key.",
    UNIQUE="Values have to be unique.",
)(ConstraintKind)
graphql_enum(
    "What happens to a row when the row that its foreign key references is changed or deleted.",
    NO_ACTION="The change fails, at the end of the transaction if the constraint is deferred.",
    RESTRICT="The change fails at once.",
    CASCADE="The row is changed or deleted as well.",
    SET_NULL="Its columns are set to null.",
    SET_DEFAULT="Its columns are set to their defaults.",
)(ForeignKeyAction)


class TableByKey(ByKey):
    kind = tables.TABLES


class TablePages(Pages):
    kind = tables.TABLES


class PartitionPages(Pages):
    kind = tables.PARTITIONS


class ConstraintLists(Lists):
    kind = constraints.CONSTRAINTS


class ReferencingLists(Lists):
    kind = constraints.REFERENCING


class ConstraintByKey(ByKey):
    kind = constraints.CONSTRAINTS


class DetailsOfTable(Facts):
    fact = tables.DETAILS


class QueryOfView(TextFacts):
    fact = tables.QUERIES


def _foreign_keys(found: list[ConstraintRow]) -> list[ConstraintRow]:
    return [row for row in found if row.kind == ConstraintKind.FOREIGN_KEY]


@strawberry.type(
    description="A primary key, unique, check, exclusion or foreign key constraint of a "
    "`DatabaseTable`. " + OF_DATABASE
)
@catalogue_node("constraint", row=ConstraintRow, loader=ConstraintByKey, names=3)
class TableConstraint(Node):
    schema_name: str = attribute("Name of the schema that contains the table.")
    table_name: str = attribute("Name of the table that has the constraint.")
    name: str = attribute("Name of the constraint.")
    kind: ConstraintKind = attribute("Kind of the constraint.")
    columns: list[str] = attribute("Columns of the table that the constraint is on, in its order.")
    clause: str = attribute(
        "The constraint as PostgreSQL formats it, such as `CHECK ((price > 0))`.", long="clause"
    )
    is_deferrable: bool = attribute("True if the check can wait for the end of the transaction.")
    is_initially_deferred: bool = attribute("True if it waits unless a statement says otherwise.")
    is_validated: bool = attribute("False if existing rows were not checked (`NOT VALID`).")
    referenced_columns: list[str] | None = attribute(
        "Columns of the referenced table, in the order of `columns`. Null if this is no foreign "
        "key."
    )
    on_update: ForeignKeyAction | None = attribute(
        "What an update of the referenced row does. Null if this is no foreign key."
    )
    on_delete: ForeignKeyAction | None = attribute(
        "What the deletion of the referenced row does. Null if this is no foreign key."
    )
    comment: str | None = attribute(
        "Comment set with `COMMENT ON CONSTRAINT`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.CONSTRAINT)

    @field(
        "Table that has the constraint. Null if the database failed to answer.",
        type="DatabaseTable | None",
    )
    @loaded_by(TableByKey)
    def table(root: strawberry.Parent[ConstraintRow]) -> NameKey:
        return NameKey(root.connection_id, (root.schema_name, root.table_name))

    @field(
        "Table that a foreign key references. Null if this is no foreign key or the database "
        "failed to answer.",
        type="DatabaseTable | None",
    )
    @loaded_by(TableByKey)
    def referenced_table(root: strawberry.Parent[ConstraintRow]) -> NameKey | None:
        if root.referenced_schema is None or root.referenced_name is None:
            return None
        return NameKey(root.connection_id, (root.referenced_schema, root.referenced_name))


@strawberry.type(
    description="A table, view, materialized view or foreign table of a `DatabaseSchema`. "
    + OF_DATABASE
)
@catalogue_node("table", row=TableRow, loader=TableByKey, names=2)
class DatabaseTable(Node):
    schema_name: str = attribute("Name of the schema that contains the table.")
    name: str = attribute("Name of the table, without its schema.")
    comment: str | None = attribute(
        "Comment set with `COMMENT ON`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.RELATION)
    row_estimate: int | None = attribute(
        "Number of rows as estimated by PostgreSQL's last `VACUUM` or `ANALYZE`. Null for views "
        "and if the table was never analyzed.",
        type=BigInt | None,
    )
    kind: TableKind = attribute("Kind of the relation.")

    size_bytes = loaded_field(
        "Size of the table with its indexes and TOAST table in bytes; 0 for a partitioned "
        "table. Null for views and foreign tables, or if the database failed to answer.",
        BigInt | None,
        Sizes,
    )

    owner = loaded_field(
        "Role that owns the table. Null if the database failed to answer.",
        str | None,
        DetailsOfTable,
        lambda details: details.owner,
    )

    query = loaded_field(
        "Text of the query of a view or materialized view. Null for tables, or if the database "
        "failed to answer.",
        str | None,
        QueryOfView,
        long=True,
    )

    columns = loaded_field(
        "All columns of the table, ordered by `position`. Null if the database failed to answer.",
        list[TableColumn] | None,
        ColumnLists,
    )

    indexes = loaded_field(
        "All indexes of the table, ordered by name. Null if the database failed to answer.",
        list[TableIndex] | None,
        IndexLists,
    )

    constraints = loaded_field(
        "All constraints of the table, ordered by name. `NOT NULL` is `nullable` of a column. "
        "Null if the database failed to answer.",
        list[TableConstraint] | None,
        ConstraintLists,
    )

    foreign_keys = loaded_field(
        "Foreign keys of the table, ordered by name: those of `constraints`. Null if the "
        "database failed to answer.",
        list[TableConstraint] | None,
        ConstraintLists,
        _foreign_keys,
    )

    referenced_by = loaded_field(
        "Foreign keys of tables that reference this one, without those that partitions "
        "inherit. Null if the database failed to answer.",
        list[TableConstraint] | None,
        ReferencingLists,
    )

    triggers = loaded_field(
        "All triggers of the table, ordered by name. Null if the database failed to answer.",
        list[TableTrigger] | None,
        TriggerLists,
    )

    has_row_security = loaded_field(
        "True if row-level security is enabled: `policies` apply. Null if the database failed "
        "to answer.",
        bool | None,
        DetailsOfTable,
        lambda details: details.has_row_security,
    )

    policies = loaded_field(
        "Row-level security policies of the table, ordered by name. Null if the database "
        "failed to answer.",
        list[TablePolicy] | None,
        PolicyLists,
    )

    @field(
        "Partitions of a partitioned table, ordered by name. Empty for other tables. Null if the "
        "database failed to answer.",
        type=Connection["DatabaseTable"] | None,
    )
    @paged_by(PartitionPages)
    def partitions(root: strawberry.Parent[TableRow], window: Window) -> PageKey:
        return PageKey(root.connection_id, root.id, window)

    partition_key = loaded_field(
        "Strategy and columns of a partitioned table, such as `RANGE (at)`. Null for other "
        "tables, or if the database failed to answer.",
        str | None,
        DetailsOfTable,
        lambda details: details.partition_key,
    )

    partition_bound = loaded_field(
        "Values of a partition, such as `FOR VALUES IN ('eu')`. Null for other tables, or if "
        "the database failed to answer.",
        str | None,
        DetailsOfTable,
        lambda details: details.partition_bound,
    )

    @field(
        "Partitioned table that this table is a partition of. Null for other tables, or if the "
        "database failed to answer.",
        type="DatabaseTable | None",
    )
    async def partition_of(root: strawberry.Parent[TableRow], info: Info) -> TableRow | None:
        details: TableDetails | None = await DetailsOfTable.of(info.context).load(
            ObjectKey(root.connection_id, root.id)
        )
        if details is None or details.parent_schema is None or details.parent_name is None:
            return None
        key = NameKey(root.connection_id, (details.parent_schema, details.parent_name))
        found: TableRow | None = await TableByKey.of(info.context).load(key)
        return found

    privileges = loaded_field(
        PRIVILEGES,
        list[DatabasePrivilege] | None,
        TablePrivileges,
    )

    column = named_field("Fetches a column by name.", TableColumn, ColumnByKey)

    constraint = named_field("Fetches a constraint by name.", TableConstraint, ConstraintByKey)

    trigger = named_field("Fetches a trigger by name.", TableTrigger, TriggerByKey)

    policy = named_field("Fetches a policy by name.", TablePolicy, PolicyByKey)
