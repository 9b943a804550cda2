"""The columns that a list needs: those of the fields that are selected on its rows.

A page of files that shows names and sizes selects neither the keys nor the times of its files. That
halves the CPU time of large pages, for PostgreSQL as well as for this process.
"""

from typing import Any

import strawberry
from graphql import GraphQLField, get_named_type
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from db.kit.lists.partial_rows import Columns
from graph.executor import Field, ResolveInfo
from graph.executor.hints import accepted_by
from graph.kit.fields import READS


def columns_of_rows(info: strawberry.Info[Any, Any]) -> Columns | None:
    """The columns that the selection on the rows of a connection reads. None means all."""
    raw: Any = info._raw_info  # noqa: SLF001 - Strawberry has no public name for it
    return raw.once_per_plan(_columns_below) if isinstance(raw, ResolveInfo) else None


def _columns_below(connection: Field) -> Columns | None:
    """A superset: conditions by @skip and @include are ignored."""
    fields = getattr(get_named_type(connection.definition.type), "fields", {})
    if "nodes" not in fields or "edges" not in fields:
        return None
    node: Any = get_named_type(fields["nodes"].type)
    row: Any = accepted_by(getattr(node, "is_type_of", None))
    if row is None:
        return None
    operation = connection.operation
    lists = list(operation.fields_below(connection.nodes))
    edges = operation.fields_below(each for each in lists if each.name.value == "edges")
    items = [each for each in lists if each.name.value == "nodes"]
    items += [each for each in edges if each.name.value == "node"]
    names = set[str]()
    for selected in operation.fields_below(items):
        if selected.name.value != "__typename":
            reads = _columns_read(node.fields[selected.name.value])
            if reads is None or not reads <= set(row._fields):
                return None
            names |= reads
    return tuple(name for name in row._fields if name in names)


def _columns_read(definition: GraphQLField) -> set[str] | None:
    """The columns that the value of a field is computed from, or None if that is not known."""
    declared = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(declared, StrawberryField):
        return None
    if declared.is_basic_field:
        return {declared.python_name}
    reads = declared.metadata.get(READS)
    return None if reads is None else set(reads)
