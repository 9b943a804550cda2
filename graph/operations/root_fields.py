"""Properties that the declarations of an operation's root fields give to the operation."""

from collections.abc import Iterator, Mapping

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

from db.users import Scopes
from graph.kit.fields import IGNORES_TOKEN, SCOPES, URGENT


def is_urgent(schema: GraphQLSchema, operation: OperationDefinitionNode) -> bool:
    """Whether all root fields are marked urgent, because they end other work of the viewer."""
    return _all_marked(schema, operation, URGENT)


def ignores_token(schema: GraphQLSchema, operation: OperationDefinitionNode) -> bool:
    """Whether all root fields authenticate by their input and ignore an invalid access token."""
    return _all_marked(schema, operation, IGNORES_TOKEN)


def required_scopes(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
) -> Scopes | None:
    """The scopes that an access token for programs needs; None if it may not run the operation.

    Fields that a directive excludes count too.
    """
    root = schema.get_root_type(operation.operation)
    required: Scopes = frozenset()
    for name in _names_in(operation.selection_set, fragments, set()):
        if name.startswith("__"):
            continue  # introspection
        declared = _metadata(root.fields.get(name) if root else None).get(SCOPES)
        if not isinstance(declared, frozenset):
            return None
        required |= declared
    return required


def root_field(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
) -> str:
    """A name for what the operation does, of which there are few."""
    root = schema.get_root_type(operation.operation)
    names = set(_names_in(operation.selection_set, fragments, set()))
    return f"{root.name if root else ''}.{names.pop() if len(names) == 1 else '*'}"


def _names_in(
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    visited: set[str],
) -> Iterator[str]:
    for selection in selections.selections:
        match selection:
            case FieldNode():
                yield selection.name.value
            case InlineFragmentNode():
                yield from _names_in(selection.selection_set, fragments, visited)
            case FragmentSpreadNode(name=spread) if spread.value not in visited:
                visited.add(spread.value)
                fragment = fragments[spread.value]
                yield from _names_in(fragment.selection_set, fragments, visited)


def _all_marked(schema: GraphQLSchema, operation: OperationDefinitionNode, mark: str) -> bool:
    """A root field in a fragment counts as not marked."""
    root = schema.get_root_type(operation.operation)
    fields = root.fields if root else {}
    return all(
        isinstance(selection, FieldNode) and _is_marked(fields.get(selection.name.value), mark)
        for selection in operation.selection_set.selections
    )


def _is_marked(field: object, mark: str) -> bool:
    return bool(_metadata(field).get(mark))


def _metadata(field: object) -> Mapping[object, object]:
    """What the declaration of a root field says (graph.kit.fields)."""
    extensions = getattr(field, "extensions", {})
    definition = extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    metadata: Mapping[object, object] = getattr(definition, "metadata", {})
    return metadata
