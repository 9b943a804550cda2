"""Checks the limits of a document before validation, in time linear in its size.

Each fragment is measured once, after those that it spreads, and counted as often as it is spread.
Nested spreads therefore take time linear in the text, not in the number of fields that they expand
to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)

from db.errors import BadInput, TooLarge
from graph.operations.limits.cost import (
    CEILING,
    Cost,
    CostProgram,
    Part,
    default_page_sizes,
    paged_fields,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Limits of one request, and the size of the plan cache.

    The introspection query of GraphiQL is 15 levels deep.
    """

    body_bytes: int = 1_000_000
    characters: int = 100_000
    tokens: int = 2_000
    depth: int = 20
    aliases: int = 50
    directives: int = 50
    fields: int = 500_000
    """Fields of the result. Queries are stopped at it; other operations may not request more."""
    requested_fields: int = 10_000_000
    """What a query may request, if each of its lists were full."""
    kept_plans: int = 1_000
    kept_plan_bytes: int = 32_000_000


_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(slots=True)
class Weight:
    """The measured size of a selection, including its fragments."""

    depth: int = 0
    aliases: int = 0
    directives: int = 0
    sign_ins: int = 0
    cost: Cost = field(default_factory=Cost)
    step: int | None = None  # of a fragment whose cost depends on page sizes


def parse_document(text: str, limits: RequestLimits) -> DocumentNode:
    """Parses a document. Raises an error as soon as it exceeds the limits."""
    if len(text) > limits.characters:
        raise TooLarge(
            f"The document has {len(text):,} characters; the limit is {limits.characters:,}.",
            hint="Pass long values as variables, and send only one operation.",
        )
    return parse(text, max_lexical_tokens=limits.tokens, max_comments=limits.tokens)


def weigh(
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDefinitionNode],
    limits: RequestLimits,
) -> CostProgram:
    """Returns the cost program of an operation. Raises an error if it exceeds another limit."""
    scale = _Scale()
    for name in _spread_first(fragments):
        scale.weigh_fragment(name, fragments[name])
    weight = scale.weigh(operation)
    _refuse_excess(weight, limits)
    scale.program.defaults = default_page_sizes(operation)
    scale.program.close(weight.cost)
    return scale.program


def _refuse_excess(weight: Weight, limits: RequestLimits) -> None:
    for noun, count, allowed in (
        ("levels of fields", weight.depth, limits.depth),
        ("aliases", weight.aliases, limits.aliases),
        ("directives", weight.directives, limits.directives),
    ):
        if count > allowed:
            raise TooLarge(
                f"The operation has {count:,} {noun}, fragments included;"
                f" at most {allowed:,} are allowed.",
                hint="Split it into several operations.",
            )
    if weight.sign_ins > 1:
        raise BadInput(
            "The operation has more than one signIn.",
            hint="Send each signIn in its own request.",
        )


def _spread_first(fragments: dict[str, FragmentDefinitionNode]) -> Iterator[str]:
    """The names of all fragments in topological order: each after those that it spreads."""
    spreads = {
        name: {spread for spread in _spreads(fragment.selection_set) if spread in fragments}
        for name, fragment in fragments.items()
    }
    try:
        yield from TopologicalSorter(spreads).static_order()
    except CycleError as error:
        raise BadInput(
            f"The fragment {error.args[1][0]!r} spreads itself, directly or through others.",
            hint="Remove one of the spreads in the cycle.",
        ) from None


def _spreads(selection_set: SelectionSetNode) -> Iterator[str]:
    pending = [selection_set]
    while pending:
        for selection in pending.pop().selections:
            match selection:
                case FragmentSpreadNode(name=name):
                    yield name.value
                case FieldNode(selection_set=inner) | InlineFragmentNode(selection_set=inner):
                    if inner:
                        pending.append(inner)


class _Scale:
    """Measures selections, and remembers fragments that were already measured."""

    def __init__(self) -> None:
        self.program = CostProgram()
        self._fragments: dict[str, Weight] = {}

    def weigh_fragment(self, name: str, fragment: FragmentDefinitionNode) -> None:
        weight = self.weigh(fragment)
        if weight.cost.parts:
            weight.step = self.program.close(weight.cost)
        self._fragments[name] = weight

    def weigh(self, definition: OperationDefinitionNode | FragmentDefinitionNode) -> Weight:
        weight = Weight(directives=len(definition.directives or ()))
        if isinstance(definition, OperationDefinitionNode):
            weight.directives += sum(
                len(variable.directives or ()) for variable in definition.variable_definitions or ()
            )
        self._add_all(weight, weight.cost, definition.selection_set, depth=1)
        return weight

    def _add_all(
        self, weight: Weight, cost: Cost, selection_set: SelectionSetNode, *, depth: int
    ) -> None:
        """Recursion is safe: the token limit keeps the nesting far below the recursion limit."""
        for selection in selection_set.selections:
            weight.directives += len(selection.directives or ())
            match selection:
                case FieldNode():
                    self._add_field(weight, cost, selection, depth=depth)
                case FragmentSpreadNode(name=name):
                    self._add_fragment(weight, cost, name.value, depth=depth)
                case InlineFragmentNode(selection_set=inner):
                    self._add_all(weight, cost, inner, depth=depth)

    def _add_field(self, weight: Weight, cost: Cost, field_node: FieldNode, *, depth: int) -> None:
        weight.depth = max(weight.depth, depth)
        weight.aliases += field_node.alias is not None
        weight.sign_ins += field_node.name.value == "signIn"
        self.program.introspects |= field_node.name.value in _INTROSPECTION
        cost.fixed += 1
        if field_node.selection_set is None:
            return
        if paged := paged_fields(field_node):
            inner = Cost()
            self._add_all(weight, inner, field_node.selection_set, depth=depth + 1)
            self.program.add_pages(cost, paged, inner)
        else:
            self._add_all(weight, cost, field_node.selection_set, depth=depth + 1)

    def _add_fragment(self, weight: Weight, cost: Cost, name: str, *, depth: int) -> None:
        fragment = self._fragments.get(name)
        if fragment is None:
            return  # validation reports the unknown fragment
        weight.depth = max(weight.depth, depth - 1 + fragment.depth)
        weight.aliases = min(weight.aliases + fragment.aliases, CEILING)
        weight.directives = min(weight.directives + fragment.directives, CEILING)
        weight.sign_ins = min(weight.sign_ins + fragment.sign_ins, CEILING)
        if fragment.step is None:
            cost.fixed = min(cost.fixed + fragment.cost.fixed, CEILING)
        else:
            cost.parts.append(Part(1, fragment.step, None))
