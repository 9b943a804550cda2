"""Properties that the declarations of an operation's root fields give to the operation."""

from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode
from strawberry.schema.schema_converter import GraphQLCoreConverter

from graph.kit.fields import IGNORES_TOKEN, URGENT


def is_urgent(schema: GraphQLSchema, operation: OperationDefinitionNode) -> bool:
    """Whether all root fields are marked urgent, because they end other work of the viewer."""
    return _all_marked(schema, operation, URGENT)


def ignores_token(schema: GraphQLSchema, operation: OperationDefinitionNode) -> bool:
    """Whether all root fields authenticate by their input and ignore an invalid access token."""
    return _all_marked(schema, operation, IGNORES_TOKEN)


def _all_marked(schema: GraphQLSchema, operation: OperationDefinitionNode, mark: str) -> bool:
    """A root field in a fragment counts as not marked."""
    root = schema.get_root_type(operation.operation)
    fields = root.fields if root else {}
    return all(
        isinstance(selection, FieldNode) and _is_marked(fields.get(selection.name.value), mark)
        for selection in operation.selection_set.selections
    )


def _is_marked(field: object, mark: str) -> bool:
    extensions = getattr(field, "extensions", {})
    definition = extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return bool(getattr(definition, "metadata", {}).get(mark))
