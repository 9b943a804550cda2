"""Whose operation may work now, so that no one's flood becomes another's wait."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Hashable

from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode
from strawberry.schema.schema_converter import GraphQLCoreConverter

from db.users.throttle import network_of
from graph.context import Context
from graph.kit.fields import URGENT
from graph.operations.slots import Turn, Turns

STRANGERS_AT_ONCE = 8
HEAVY = 1_000
"""Fields; of operations that ask for more than this, each viewer has one at work at a time."""
REST = 2.0
"""So many times what it took to prepare a document, until the next one of the same sender."""


class _Both:
    """Two turns that end together."""

    __slots__ = ("_first", "_second", "reads", "search")

    def __init__(self, first: Turn, second: Turn) -> None:
        self._first = first
        self._second = second
        self.reads = second.reads
        self.search = second.search

    def end(self) -> None:
        self._second.end()
        self._first.end()


class Fairness:
    """Turns for each viewer, and for each address that strangers come from."""

    def __init__(self) -> None:
        self._documents = Turns(at_once=1)
        self._refusals = Turns(at_once=1)
        self._usual = Turns()
        self._heavy = Turns(at_once=1)
        self._urgent = Turns()
        self._strangers = Turns(at_once=STRANGERS_AT_ONCE)

    async def refusal(self, client_address: str) -> None:
        """Returns when it is time to refuse somebody: one of an address each round of the loop."""
        turn = await _taken(self._refusals, network_of(client_address))
        try:
            await asyncio.sleep(0)
        finally:
            turn.end()

    @contextlib.asynccontextmanager
    async def document(self, context: Context) -> AsyncIterator[None]:
        """To prepare a document in, which holds up the loop or its thread for milliseconds.

        Raises:
            RateLimited: too many wait already.
        """
        viewer = context.viewer
        sender = network_of(context.client_address) if viewer is None else viewer.id
        turn = await _taken(self._documents, sender)
        began = time.perf_counter()
        try:
            await asyncio.sleep(0)  # those who sent one in the same moment come to wait
            yield
        finally:
            turn.rest((time.perf_counter() - began) * REST)

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
            both = context.turn = _Both(alone, await _taken(self._usual, viewer))
        except BaseException:
            alone.end()
            raise
        return both


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
