"""The error of an operation whose result is too large."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import FieldNode, FragmentSpreadNode, InlineFragmentNode, SelectionSetNode

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
    return TooLarge(
        f"The result has more than {error.limit:,} {error.items}; the operation was stopped.",
        hint=hint,
    )


def _paged_on(path: Sequence[str | int], operation: Operation) -> Iterator[PagedField]:
    selected = [operation.definition.selection_set]
    for key in path:
        if isinstance(key, int):
            continue
        nodes = [node for each in selected for node in _fields(each, key, operation)]
        if nodes:
            yield from paged_fields(nodes[0])  # the arguments of fields with one key are equal
        selected = [node.selection_set for node in nodes if node.selection_set]


def _fields(selection_set: SelectionSetNode, key: str, operation: Operation) -> Iterator[FieldNode]:
    """The fields with this response key, also in fragments, each of which is visited once."""
    pending, spread = [selection_set], set[str]()
    while pending:
        for selection in pending.pop().selections:
            match selection:
                case FieldNode(alias=alias, name=name):
                    if (alias or name).value == key:
                        yield selection
                case InlineFragmentNode(selection_set=inner):
                    pending.append(inner)
                case FragmentSpreadNode(name=name) if name.value not in spread:
                    spread.add(name.value)
                    pending.append(operation.fragments[name.value].selection_set)
