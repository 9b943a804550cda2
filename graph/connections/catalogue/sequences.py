"""The GraphQL type of sequences."""

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import DatabasePrivilege, SequenceRow, sequences
from graph.connections.catalogue.loaders import ByKey, Pages
from graph.connections.catalogue.nodes import (
    OF_DATABASE,
    catalogue_node,
    definition_field,
    loaded_by,
    loaded_field,
)
from graph.connections.catalogue.privileges import PRIVILEGES, SequencePrivileges
from graph.connections.catalogue.tables import DatabaseTable, TableByKey
from graph.kit.fields import attribute, field
from graph.kit.ids import NameKey, Node
from graph.kit.scalars import BigInt


class SequencePages(Pages):
    kind = sequences.SEQUENCES


class SequenceByKey(ByKey):
    kind = sequences.SEQUENCES


@strawberry.type(description="A sequence of a `DatabaseSchema`. " + OF_DATABASE)
@catalogue_node("sequence", row=SequenceRow, loader=SequenceByKey, names=2)
class DatabaseSequence(Node):
    schema_name: str = attribute("Name of the schema that contains the sequence.")
    name: str = attribute("Name of the sequence.")
    data_type: str = attribute("Type of the values: `smallint`, `integer` or `bigint`.")
    start_value: int = attribute("First value.", type=BigInt)
    increment: int = attribute("What is added for the next value; may be negative.", type=BigInt)
    min_value: int = attribute("Smallest value.", type=BigInt)
    max_value: int = attribute("Largest value.", type=BigInt)
    cache_size: int = attribute("Number of values that a session takes at once.", type=BigInt)
    is_cycled: bool = attribute("True if the sequence starts again after its last value.")
    last_value: int | None = attribute(
        "Last value that was taken. Null if there is none, or if the role may not read it.",
        type=BigInt | None,
    )
    column_name: str | None = attribute(
        "Column of `table` that owns the sequence. Null if no column does."
    )
    owner: str = attribute("Role that owns the sequence.")
    comment: str | None = attribute(
        "Comment set with `COMMENT ON SEQUENCE`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.SEQUENCE)

    @field(
        "Table whose column owns the sequence, as that of an identity or `serial` column does. "
        "Null if no column does, or if the database failed to answer.",
        type=DatabaseTable | None,
    )
    @loaded_by(TableByKey)
    def table(root: strawberry.Parent[SequenceRow]) -> NameKey | None:
        if root.table_schema is None or root.table_name is None:
            return None
        return NameKey(root.connection_id, (root.table_schema, root.table_name))

    privileges = loaded_field(
        PRIVILEGES,
        list[DatabasePrivilege] | None,
        SequencePrivileges,
    )
