"""Turns of the event loop for requests that are no operations, such as downloads and handshakes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Hashable
from weakref import WeakValueDictionary

PAUSE_S = 0.002
"""After each turn while others of the same holder wait: the loop is busy for half of the time."""
PIECE_PAUSE_S = 0.005
"""After each piece of a download, for which the loop, threads and the kernel copy a megabyte."""


class FairTurns:
    """Lets each holder, a network or a user, do one thing in an iteration of the event loop.

    Operations have slots (graph.operations). Without turns, 64 connections that request a file are
    served together in one iteration, and every other user waits for all of them.
    """

    def __init__(self) -> None:
        self._queues: WeakValueDictionary[Hashable, _Queue] = WeakValueDictionary()

    async def wait(self, holder: Hashable, pause_s: float = PAUSE_S) -> None:
        """Returns in order of arrival among the calls of the same holder."""
        queue = self._queues.get(holder)
        if queue is None:
            queue = self._queues[holder] = _Queue()
        queue.length += 1
        try:
            async with queue:
                began = time.monotonic()
                await asyncio.sleep(0)
                if queue.length > 1:  # leaves the loop to others for as long as it was busy
                    await asyncio.sleep(max(pause_s, time.monotonic() - began))
        finally:
            queue.length -= 1

    async def each(self, holder: Hashable, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The pieces, each in a turn of its own."""
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                await self.wait(holder, PIECE_PAUSE_S)
                yield piece


class _Queue(asyncio.Lock):
    """The calls of one holder."""

    length = 0
