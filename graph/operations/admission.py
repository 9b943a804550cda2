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
from graph.operations.slots import Slot, Slots

STRANGERS_AT_ONCE = 8
HEAVY = 1_000
"""Fields; of operations that ask for more than this, each viewer has one at work at a time."""
REST = 2.0
"""So many times what it took to prepare a document, until the next one of the same sender."""


class CombinedSlot:
    """Two slots that end together."""

    __slots__ = ("_first", "_second", "reads", "search")

    def __init__(self, first: Slot, second: Slot) -> None:
        self._first = first
        self._second = second
        self.reads = second.reads
        self.search = second.search

    def end(self) -> None:
        self._second.end()
        self._first.end()


class Admission:
    """Slots for each viewer, and for each address that strangers come from."""

    def __init__(self) -> None:
        self._documents = Slots(at_once=1)
        self._refusals = Slots(at_once=1)
        self._usual = Slots()
        self._heavy = Slots(at_once=1)
        self._urgent = Slots()
        self._strangers = Slots(at_once=STRANGERS_AT_ONCE)

    async def refusal(self, client_address: str) -> None:
        """Returns when it is time to refuse somebody: one of an address each round of the loop."""
        slot = await _acquire(self._refusals, network_of(client_address))
        try:
            await asyncio.sleep(0)
        finally:
            slot.end()

    @contextlib.asynccontextmanager
    async def document(self, context: Context) -> AsyncIterator[None]:
        """To prepare a document in, which holds up the loop or its thread for milliseconds.

        Raises:
            RateLimited: too many wait already.
        """
        viewer = context.viewer
        sender = network_of(context.client_address) if viewer is None else viewer.id
        slot = await _acquire(self._documents, sender)
        began = time.perf_counter()
        try:
            await asyncio.sleep(0)  # those who sent one in the same moment come to wait
            yield
        finally:
            slot.rest((time.perf_counter() - began) * REST)

    async def slot(
        self, context: Context, *, cost: int = 0, urgent: bool = False
    ) -> "Slot | CombinedSlot":
        """Waits for a slot, and leaves it to the context too, to end it before a long wait.

        Raises:
            RateLimited: too many wait already.
        """
        if context.viewer is None:
            # Perhaps it is the address of a proxy, with many behind it.
            slot = await _acquire(self._strangers, network_of(context.client_address))
        elif urgent:
            slot = await _acquire(self._urgent, context.viewer.id)
        elif cost > HEAVY:
            return await self._admit_heavy(context, context.viewer.id)
        else:
            slot = await _acquire(self._usual, context.viewer.id)
        context.slot = slot
        return slot

    async def _admit_heavy(self, context: Context, viewer: Hashable) -> CombinedSlot:
        """Besides the usual one: several heavy ones at once would take all connections."""
        alone = await _acquire(self._heavy, viewer)
        try:
            both = context.slot = CombinedSlot(alone, await _acquire(self._usual, viewer))
        except BaseException:
            alone.end()
            raise
        return both


async def _acquire(slots: Slots, whose: Hashable) -> Slot:
    return slots.take(whose) or await slots.wait(whose)


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
