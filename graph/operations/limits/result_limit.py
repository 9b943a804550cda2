"""The error of an operation whose result is too large."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import FieldNode, OperationDefinitionNode, OperationType

from db.errors import TooLarge
from graph.executor import Operation, ResultTooLarge
from graph.operations.limits.cost import (
    PagedField,
    default_page_sizes,
    describe_page,
    page_size,
    paged_fields,
)


def result_error(
    error: ResultTooLarge, operation: Operation, variables: Mapping[str, Any]
) -> TooLarge:
    """Names the arguments that limit the lists on the path to the position that was reached."""
    values = {**default_page_sizes(operation.definition), **variables}
    shown = [
        describe_page(paged, page_size(paged.size, values))
        for paged in _paged_on(error.path, operation)
        if paged.argument
    ]
    hint = "Request fewer fields, or split it into several operations."
    if shown:
        hint = f"Lower {' or '.join(reversed(shown))}, and fetch the rest page by page."
    if operation.definition.operation is OperationType.MUTATION:
        hint = f"What it has changed remains: read that first. {hint}"
    return TooLarge(
        f"The result has more than {error.limit:,} {error.items}; the operation was stopped.",
        hint=hint,
    )


def _paged_on(path: Sequence[str | int], operation: Operation) -> Iterator[PagedField]:
    selected: Sequence[FieldNode | OperationDefinitionNode] = [operation.definition]
    for key in path:
        if isinstance(key, int):
            continue
        nodes = [
            field
            for field in operation.fields_below(selected)
            if (field.alias or field.name).value == key
        ]
        if nodes:
            yield from paged_fields(nodes[0])  # the arguments of fields with one key are equal
        selected = nodes
