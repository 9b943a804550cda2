"""The maximum cost of an operation: one per field, times the page sizes of the enclosing lists.

Page sizes may be variables, which differ between requests. The cost is therefore compiled to a
program: a list of steps, each a constant plus products of page sizes and earlier steps. It runs in
time linear in the number of paged lists in the document, however often fragments repeat them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import FieldNode, IntValueNode, OperationDefinitionNode, VariableNode

from db.errors import TooLarge

CEILING = 2**53
"""Larger numbers are clamped, because they exceed every limit anyway."""

_PAGE_ARGUMENTS = frozenset({"first", "last", "limit"})

# Lists of introspection have no page size. These estimates exceed typical schemas, and allow an
# operation to request the schema once or twice, but not fifty times with aliases.
_INTROSPECTION_LISTS = {
    "types": 150,
    "fields": 10,
    "args": 3,
    "inputFields": 10,
    "enumValues": 10,
    "possibleTypes": 10,
    "interfaces": 3,
    "directives": 10,
}

PageSize: TypeAlias = int | str  # a number, or the name of the variable that holds it


def page_sizes(field_node: FieldNode) -> list[PageSize]:
    """The number of items that the arguments of this field request; empty if it is no list."""
    sizes: list[PageSize] = []
    for argument in field_node.arguments or ():
        if argument.name.value not in _PAGE_ARGUMENTS:
            continue
        match argument.value:
            case IntValueNode(value=digits):
                sizes.append(_as_page_size(int(digits) if len(digits) < 16 else CEILING))
            case VariableNode(name=name):
                sizes.append(name.value)
    if not sizes and (estimate := _INTROSPECTION_LISTS.get(field_node.name.value)):
        return [estimate]
    return sizes


def default_page_sizes(operation: OperationDefinitionNode) -> dict[str, int]:
    return {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
        and len(definition.default_value.value) < 16
    }


def _as_page_size(value: object) -> int:
    """Clamps a page size. Values of other types are rejected later, by validation."""
    if isinstance(value, int | float):
        return int(min(max(value, 1), CEILING))
    return 1


@dataclass(slots=True)
class Cost:
    """A sum of a constant, and of products of page sizes and earlier steps."""

    fixed: int = 0
    parts: list[tuple[PageSize, int]] = field(default_factory=list)


@dataclass(slots=True)
class CostProgram:
    """The steps of one operation in order of evaluation."""

    defaults: dict[str, int] = field(default_factory=dict)
    steps: list[Cost] = field(default_factory=list)

    def close(self, cost: Cost) -> int:
        """Appends a complete sum as a step. Returns its index."""
        self.steps.append(cost)
        return len(self.steps) - 1

    def add_pages(self, total: Cost, sizes: list[PageSize], inner: Cost) -> None:
        """Adds a repeated selection. Two sizes, an error found by validation, are both counted."""
        if inner.parts or any(isinstance(size, str) for size in sizes):
            step = self.close(inner)
            total.parts.extend((size, step) for size in sizes)
        else:
            for size in sizes:
                if isinstance(size, int):
                    total.fixed = min(total.fixed + size * inner.fixed, CEILING)

    def run(self, variables: Mapping[str, Any]) -> int:
        """The cost of the operation, which is its last step."""
        values: list[int] = []
        for step in self.steps:
            total = step.fixed
            for size, index in step.parts:
                times = size if isinstance(size, int) else self._page_size(size, variables)
                total += times * values[index]
            values.append(min(total, CEILING))
        return values[-1]

    def _page_size(self, variable: str, variables: Mapping[str, Any]) -> int:
        return _as_page_size(variables.get(variable, self.defaults.get(variable)))


def refuse_cost(cost: int, limit: int) -> None:
    if cost > limit:
        raise TooLarge(
            f"The operation requests up to {cost:,} fields; at most {limit:,} are allowed.",
            hint="Request smaller pages (first, last, limit) or fewer fields in nested lists.",
        )
