"""Admission of operations: limits concurrency per viewer or per network of anonymous clients."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Hashable

from db.users.throttle import network_of
from graph.context import Context
from graph.operations.slots import Slot, Slots

MAX_ANONYMOUS_CONCURRENCY = 8
HEAVY = 1_000
"""Cost in fields above which each viewer runs one operation at a time."""
PAUSE_FACTOR = 2.0
"""The pause before the next document of the same sender, as a multiple of the preparation time."""


class Admission:
    """Slots per viewer, and per network for anonymous clients."""

    def __init__(self) -> None:
        self._documents = Slots(at_once=1)
        self._refusals = Slots(at_once=1)
        self._regular = Slots()
        self._heavy = Slots(at_once=1)
        self._urgent = Slots()
        self._anonymous = Slots(at_once=MAX_ANONYMOUS_CONCURRENCY)

    async def refusal(self, client_address: str) -> None:
        """Return when a request may be refused: one per network in each iteration of the loop."""
        slot = await _acquire(self._refusals, network_of(client_address))
        try:
            await asyncio.sleep(0)
        finally:
            slot.end()

    @contextlib.asynccontextmanager
    async def document(self, context: Context) -> AsyncIterator[None]:
        """Hold this while preparing a document, which blocks the loop for milliseconds.

        Raises:
            RateLimited: the queue of the sender is full.
        """
        viewer = context.viewer
        sender = network_of(context.client_address) if viewer is None else viewer.id
        slot = await _acquire(self._documents, sender)
        began = time.perf_counter()
        try:
            await asyncio.sleep(0)  # requests that arrived at the same time can queue
            yield
        finally:
            slot.end_after((time.perf_counter() - began) * PAUSE_FACTOR)

    async def slot(self, context: Context, *, cost: int = 0, urgent: bool = False) -> Slot:
        """Wait for a slot, and store it in the context, so that resolvers can release it early.

        Raises:
            RateLimited: the queue of the viewer is full.
        """
        if context.viewer is None:
            # The network may be that of a proxy with many clients.
            slot = await _acquire(self._anonymous, network_of(context.client_address))
        elif urgent:
            slot = await _acquire(self._urgent, context.viewer.id)
        elif cost > HEAVY:
            slot = await self._admit_heavy(context.viewer.id)
        else:
            at_once = context.services.database.concurrency
            slot = await _acquire(self._regular, context.viewer.id, at_once)
        context.slot = slot
        return slot

    async def _admit_heavy(self, viewer: Hashable) -> Slot:
        """Take a second slot: concurrent heavy operations could use all connections."""
        alone = await _acquire(self._heavy, viewer)
        try:
            slot = await _acquire(self._regular, viewer)
        except BaseException:
            alone.end()
            raise
        slot.second = alone
        return slot


async def _acquire(slots: Slots, user: Hashable, at_once: int = 0) -> Slot:
    return slots.take(user, at_once) or await slots.wait(user)
