"""Whose operation may work now, so that no one's flood becomes another's wait."""

from collections.abc import Hashable

from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode
from strawberry.schema.schema_converter import GraphQLCoreConverter

from db.users.throttle import network_of
from graph.context import Context
from graph.fields import URGENT
from graph.operations.turns import Turn, Turns

STRANGERS_AT_ONCE = 8
HEAVY = 10_000
"""Fields; of operations that ask for more than this, each viewer has one at work at a time."""


class _Both:
    """Two turns that end together."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Turn, second: Turn) -> None:
        self._first = first
        self._second = second

    def end(self) -> None:
        self._second.end()
        self._first.end()


class Fairness:
    """Turns for each viewer, and for each address that strangers come from."""

    def __init__(self) -> None:
        self._usual = Turns()
        self._heavy = Turns(at_once=1)
        self._urgent = Turns()
        self._strangers = Turns(at_once=STRANGERS_AT_ONCE)

    async def turn(
        self, context: Context, *, cost: int = 0, urgent: bool = False
    ) -> "Turn | _Both":
        """Waits for a turn, and leaves it to the context too, to end it before a long wait.

        Raises:
            RateLimited: too many wait already.
        """
        if context.viewer is None:
            # Perhaps it is the address of a proxy, with many behind it.
            turn = await _taken(self._strangers, network_of(context.client_address))
        elif urgent:
            turn = await _taken(self._urgent, context.viewer.id)
        elif cost > HEAVY:
            return await self._alone(context, context.viewer.id)
        else:
            turn = await _taken(self._usual, context.viewer.id)
        context.turn = turn
        return turn

    async def _alone(self, context: Context, viewer: Hashable) -> _Both:
        """Besides the usual one: several heavy ones at once would take all connections."""
        alone = await _taken(self._heavy, viewer)
        try:
            context.turn = await _taken(self._usual, viewer)
        except BaseException:
            alone.end()
            raise
        return _Both(alone, context.turn)


async def _taken(turns: Turns, whose: Hashable) -> Turn:
    return turns.take(whose) or await turns.wait(whose)


def is_urgent(schema: GraphQLSchema, operation: OperationDefinitionNode) -> bool:
    """Whether all it asks for may not wait behind what it would end."""
    root = schema.get_root_type(operation.operation)
    fields = root.fields if root else {}
    return all(
        isinstance(selection, FieldNode) and _is_marked(fields.get(selection.name.value))
        for selection in operation.selection_set.selections
    )


def _is_marked(field: object) -> bool:
    extensions = getattr(field, "extensions", {})
    definition = extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return bool(getattr(definition, "metadata", {}).get(URGENT))
