"""The maximum cost of an operation: one per field, times the page sizes of the enclosing lists.

Page sizes may be variables, which differ between requests. The cost is therefore compiled to a
program: a list of steps, each a constant plus products of page sizes and earlier steps. It runs in
time linear in the number of paged lists in the document, however often fragments repeat them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    FieldNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    VariableNode,
)

from db.errors import TooLarge

CEILING = 2**53
"""Larger numbers are clamped, because they exceed every limit anyway."""

_PAGE_ARGUMENTS = frozenset({"first", "last", "limit"})
_ID_LISTS = frozenset({"ids"})

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


class PagedField(NamedTuple):
    """A field that returns a list, and the argument that limits the number of its items."""

    name: str
    argument: str  # empty for lists of introspection, whose size is an estimate
    size: PageSize


def paged_fields(field_node: FieldNode) -> list[PagedField]:
    """The arguments of this field that limit its items; empty if it is no list."""
    name = field_node.name.value
    found: list[PagedField] = []
    for argument in field_node.arguments or ():
        given, value = argument.name.value, argument.value
        if given not in _PAGE_ARGUMENTS | _ID_LISTS:
            continue
        match value:
            case IntValueNode(value=digits) if given in _PAGE_ARGUMENTS:
                size = _as_page_size(int(digits) if len(digits) < 16 else CEILING)
                found.append(PagedField(name, given, size))
            case ListValueNode(values=items) if given in _ID_LISTS:
                found.append(PagedField(name, given, _as_page_size(items)))
            case VariableNode(name=variable):
                found.append(PagedField(name, given, variable.value))
    if not found and (estimate := _INTROSPECTION_LISTS.get(name)):
        return [PagedField(name, "", estimate)]
    return found


def default_page_sizes(operation: OperationDefinitionNode) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for definition in operation.variable_definitions or ():
        match definition.default_value:
            case IntValueNode(value=digits) if len(digits) < 16:
                sizes[definition.variable.name.value] = int(digits)
            case ListValueNode(values=items):
                sizes[definition.variable.name.value] = len(items)
    return sizes


def page_size(size: PageSize, values: Mapping[str, Any]) -> int:
    return size if isinstance(size, int) else _as_page_size(values.get(size))


def _as_page_size(value: object) -> int:
    """Clamps a page size. Values of other types are rejected later, by validation."""
    if isinstance(value, list | tuple):
        value = len(value)
    if isinstance(value, int | float):
        return int(min(max(value, 1), CEILING))
    return 1


class Part(NamedTuple):
    """A page size times an earlier step."""

    size: PageSize
    step: int
    field: PagedField | None  # None for a spread of a fragment


@dataclass(slots=True)
class Cost:
    """A sum of a constant, and of products of page sizes and earlier steps."""

    fixed: int = 0
    parts: list[Part] = field(default_factory=list)


@dataclass(slots=True)
class CostProgram:
    """The steps of one operation in order of evaluation, and the limit of its cost."""

    defaults: dict[str, int] = field(default_factory=dict)
    steps: list[Cost] = field(default_factory=list)
    introspects: bool = False

    def close(self, cost: Cost) -> int:
        """Appends a complete sum as a step. Returns its index."""
        self.steps.append(cost)
        return len(self.steps) - 1

    def add_pages(self, total: Cost, fields: list[PagedField], inner: Cost) -> None:
        """Adds a repeated selection. Two sizes, an error found by validation, are both counted."""
        step = self.close(inner)
        total.parts.extend(Part(paged.size, step, paged) for paged in fields)

    def run(self, variables: Mapping[str, Any]) -> int:
        """The cost of the operation, which is its last step."""
        whole = self.steps[-1]
        if not whole.parts:  # no list: it depends on no other step
            return min(whole.fixed, CEILING)
        values: list[int] = []
        for step in self.steps:
            total = step.fixed
            for part in step.parts:
                total += self.size_of(part, variables) * values[part.step]
            values.append(min(total, CEILING))
        return values[-1]

    def heaviest_lists(self, variables: Mapping[str, Any]) -> list[Part]:
        """The lists within each other that cost the most, from the outermost on."""
        values = self._values(variables, None, 0)

        def cost_of(part: Part) -> int:
            return self.size_of(part, variables) * values[part.step]

        found: list[Part] = []
        step = self.steps[-1]
        while step.parts:
            part = max(step.parts, key=cost_of)
            found.append(part)
            step = self.steps[part.step]
        return found

    def largest_size(self, lowered: Part, variables: Mapping[str, Any], limit: int) -> int:
        """The largest size of a page with which the cost is within the limit, or 0."""
        if self._values(variables, lowered, 1)[-1] > limit:
            return 0
        low, high = 1, self.size_of(lowered, variables)
        while low < high:
            middle = (low + high + 1) // 2
            if self._values(variables, lowered, middle)[-1] <= limit:
                low = middle
            else:
                high = middle - 1
        return low

    def size_of(self, part: Part, variables: Mapping[str, Any]) -> int:
        if isinstance(part.size, int):
            return part.size
        return _as_page_size(variables.get(part.size, self.defaults.get(part.size)))

    def _values(self, variables: Mapping[str, Any], lowered: Part | None, to: int) -> list[int]:
        """The values of the steps; `lowered`, and each list of its variable, has the size `to`."""
        values: list[int] = []
        for step in self.steps:
            total = step.fixed
            for part in step.parts:
                times = to if _is_same(part, lowered) else self.size_of(part, variables)
                total += times * values[part.step]
            values.append(min(total, CEILING))
        return values


def _is_same(part: Part, other: Part | None) -> bool:
    return part is other or (
        other is not None and isinstance(part.size, str) and part.size == other.size
    )


def refuse_cost(program: CostProgram, variables: Mapping[str, Any], limit: int) -> int:
    """Returns the cost of an operation.

    Raises:
        TooLarge: it exceeds the limit.
    """
    cost = program.run(variables)
    if cost <= limit:
        return cost
    raise TooLarge(
        f"The operation requests up to {_shown(cost)} fields; at most {limit:,} are allowed.",
        hint=_smaller_pages(program, variables, limit),
    )


def _smaller_pages(program: CostProgram, variables: Mapping[str, Any], limit: int) -> str:
    """Names the innermost list that alone brings the cost within the limit, or else all."""
    found: list[str] = []
    for part in reversed(program.heaviest_lists(variables)):
        if part.field is None or not part.field.argument:
            continue
        shown = describe_page(part.field, program.size_of(part, variables))
        if size := program.largest_size(part, variables, limit):
            return f"Lower {shown} to {size:,} or less."
        found.append(shown)
    if found:
        return f"Lower these together: {', '.join(reversed(found))}."
    return "Split it into several operations."


def describe_page(paged: PagedField, size: int) -> str:
    """An argument with its size, such as "`first` of `tables` (500, from `$n`)"."""
    source = f", from `${paged.size}`" if isinstance(paged.size, str) else ""
    return f"`{paged.argument}` of `{paged.name}` ({_shown(size)}{source})"


def _shown(count: int) -> str:
    return f"{count:,}" if count < CEILING else "very many"
