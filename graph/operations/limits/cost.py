"""What an operation may cost: one for each field, times the page sizes of the lists it stands in.

Page sizes may be variables, which are known only with the request. So the cost is kept as a short
program: a list of steps, each a number plus earlier steps times page sizes. Running it takes time
linear in the number of paged lists written in the document, whatever its fragments multiply to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import FieldNode, IntValueNode, OperationDefinitionNode, VariableNode

CEILING = 2**53
"""Numbers stop growing here: what they would have been changes no decision."""

_PAGE_ARGUMENTS = frozenset({"first", "last", "limit"})

# Introspection's lists have no page size. These are somewhat longer than a schema's usually are,
# so that an operation may ask for a whole schema, or two, but not for fifty under as many names.
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
    """How often the selection of this field may repeat, as far as its arguments say."""
    sizes: list[PageSize] = []
    for argument in field_node.arguments or ():
        if argument.name.value not in _PAGE_ARGUMENTS:
            continue
        match argument.value:
            case IntValueNode(value=digits):
                sizes.append(_as_page_size(int(digits) if len(digits) < 16 else CEILING))
            case VariableNode(name=name):
                sizes.append(name.value)
    if not sizes and (usual := _INTROSPECTION_LISTS.get(field_node.name.value)):
        return [usual]
    return sizes


def default_page_sizes(operation: OperationDefinitionNode) -> dict[str, int]:
    return {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
        and len(definition.default_value.value) < 16
    }


def _as_page_size(value: object) -> int:
    """Whatever a client sent as a page size; what is no number is refused later, by its type."""
    if isinstance(value, int | float):
        return int(min(max(value, 1), CEILING))
    return 1


@dataclass(slots=True)
class Cost:
    """A sum under construction: what is certain, and earlier steps times page sizes."""

    fixed: int = 0
    parts: list[tuple[PageSize, int]] = field(default_factory=list)


@dataclass(slots=True)
class CostProgram:
    """The steps of one operation, in the order in which they can be computed."""

    defaults: dict[str, int] = field(default_factory=dict)
    steps: list[Cost] = field(default_factory=list)

    def close(self, cost: Cost) -> int:
        """Make a finished sum a step that later ones can refer to."""
        self.steps.append(cost)
        return len(self.steps) - 1

    def add_pages(self, total: Cost, sizes: list[PageSize], inner: Cost) -> None:
        """Add a selection that repeats. Two sizes are an error of a later stage: both count."""
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
