"""What an executor needs to know about one operation of a document."""

from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, and the fragments it may spread."""

    document: DocumentNode
    definition: OperationDefinitionNode
    name: str | None
    fragments: dict[str, FragmentDefinitionNode]


def select_operation(document: DocumentNode, name: str | None) -> Operation:
    """Find the operation a request means; the same rules and words as graphql-core."""
    operations = [
        node for node in document.definitions if isinstance(node, OperationDefinitionNode)
    ]
    if name is not None:
        operations = [node for node in operations if node.name and node.name.value == name]
        if not operations:
            raise GraphQLError(f"Unknown operation named '{name}'.")
    if not operations:
        raise GraphQLError("Must provide an operation.")
    if len(operations) > 1:
        raise GraphQLError("Must provide operation name if query contains multiple operations.")
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    return Operation(document, operations[0], name, fragments)
