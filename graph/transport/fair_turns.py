"""Turns of the event loop for requests that are no operations, such as downloads and handshakes."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from weakref import WeakValueDictionary


class FairTurns:
    """Lets each holder, a network or a user, do one thing in an iteration of the event loop.

    Operations have slots (graph.operations). Without turns, 64 connections that request a file are
    served together in one iteration, and every other user waits for all of them.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def wait(self, holder: Hashable) -> None:
        """Returns in order of arrival among the calls of the same holder."""
        lock = self._locks.get(holder)
        if lock is None:
            lock = self._locks[holder] = asyncio.Lock()
        async with lock:
            await asyncio.sleep(0)

    async def each(self, holder: Hashable, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, each in a turn of its own."""
        async for piece in pieces:
            await self.wait(holder)
            yield piece
