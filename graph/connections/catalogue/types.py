"""The GraphQL type of data types."""

from uuid import UUID

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import DatabasePrivilege, DatabaseTypeKind, TypeRow, types
from graph.connections.catalogue.columns import ColumnLists, TableColumn
from graph.connections.catalogue.loaders import ByKey, ObjectKey, Pages
from graph.connections.catalogue.nodes import (
    OF_DATABASE,
    catalogue_node,
    definition_field,
    loaded_by,
    loaded_field,
)
from graph.connections.catalogue.privileges import PRIVILEGES, TypePrivileges
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.ids import Node

graphql_enum(
    "Kind of a `DatabaseType`.",
    BASE="A base type, with functions that read and write its text.",
    COMPOSITE="A composite type, with `attributes`.",
    DOMAIN="A domain: a `baseType` with `checks`.",
    ENUM="An enum, with `labels`.",
    MULTIRANGE="A multirange type.",
    PSEUDO="A pseudo-type, such as `record`.",
    RANGE="A range type, over a `subtype`.",
)(DatabaseTypeKind)


class TypePages(Pages):
    kind = types.TYPES


class TypeByKey(ByKey):
    kind = types.TYPES


@strawberry.type(
    description="A data type of a `DatabaseSchema`. Array types and the row types of tables are "
    "omitted. " + OF_DATABASE
)
@catalogue_node("type", row=TypeRow, loader=TypeByKey, names=2)
class DatabaseType(Node):
    schema_name: str = attribute("Name of the schema that contains the type.")
    name: str = attribute("Name of the type.")
    kind: DatabaseTypeKind = attribute("Kind of the type.")
    labels: list[str] | None = attribute("Labels of an enum, in their order. Null for other types.")
    base_type: str | None = attribute("Type that a domain is based on. Null for other types.")
    nullable: bool = attribute("False if the type is a domain with `NOT NULL`.")
    default: str | None = attribute(
        "SQL expression of the default value of a domain. Null if there is none.", long="default"
    )
    checks: list[str] = attribute("Constraints of a domain, such as `CHECK ((VALUE > 0))`.")
    subtype: str | None = attribute("Type of the bounds of a range. Null for other types.")
    owner: str = attribute("Role that owns the type.")
    comment: str | None = attribute(
        "Comment set with `COMMENT ON TYPE`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.TYPE)

    @field(
        "Attributes of a composite type, ordered by `position`. Null for other types, or if the "
        "database failed to answer.",
        type=list[TableColumn] | None,
    )
    @loaded_by(ColumnLists)
    def attributes(root: strawberry.Parent[TypeRow]) -> ObjectKey | None:
        if root.kind != DatabaseTypeKind.COMPOSITE:
            return None
        return ObjectKey(root.connection_id, UUID(int=root.relation_oid))

    privileges = loaded_field(
        PRIVILEGES,
        list[DatabasePrivilege] | None,
        TypePrivileges,
    )
