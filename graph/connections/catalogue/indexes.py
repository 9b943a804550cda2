"""The GraphQL type of indexes."""

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import IndexRow, indexes, tables
from graph.connections.catalogue.loaders import ByKey, Facts, Lists
from graph.connections.catalogue.nodes import (
    OF_DATABASE,
    catalogue_node,
    definition_field,
    loaded_field,
)
from graph.kit.fields import attribute
from graph.kit.ids import Node
from graph.kit.scalars import BigInt


class IndexLists(Lists):
    kind = indexes.INDEXES


class IndexByKey(ByKey):
    kind = indexes.INDEXES


class Sizes(Facts):
    """Sizes of tables and of indexes."""

    fact = tables.SIZES


@strawberry.type(description="An index of a `DatabaseTable`. " + OF_DATABASE)
@catalogue_node("index", row=IndexRow, loader=IndexByKey, names=2)
class TableIndex(Node):
    schema_name: str = attribute("Name of the schema that contains the index and its table.")
    table_name: str = attribute("Name of the table.")
    name: str = attribute("Name of the index.")
    method: str = attribute("Access method, such as `btree` or `gin`.")
    columns: list[str] = attribute("Names of the indexed columns, or the indexed expressions.")
    included_columns: list[str] = attribute("Columns that the index stores by `INCLUDE`.")
    predicate: str | None = attribute(
        "SQL condition of a partial index. Null if the index has all rows.", long="predicate"
    )
    is_unique: bool = attribute("True if the index forbids duplicates.")
    is_primary_key: bool = attribute("True if the index belongs to the primary key.")
    is_valid: bool = attribute(
        "False if queries do not use the index: it is being built, or its build has failed."
    )
    comment: str | None = attribute(
        "Comment set with `COMMENT ON INDEX`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.INDEX)

    size_bytes = loaded_field(
        "Size of the index in bytes. Null if the database failed to answer, or for the index "
        "of a partitioned table.",
        BigInt | None,
        Sizes,
    )
