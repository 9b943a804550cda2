"""Whose run is next: each owner has a lane, oldest first, and lanes take turns."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from db.kit.base import OwnerId

log = logging.getLogger(__name__)

CLOSE_S = 1.0
LOOK_AGAIN_S = 1.0
"""Room that another process makes is noticed so soon."""

Begin = Callable[[OwnerId], Awaitable[bool]]


class Lanes:
    """Begins runs when there is a slot of this process and room for the owner."""

    def __init__(self, begin: Begin, has_queued: Begin, *, slots: int) -> None:
        """`begin` starts the owner's next run and tells whether there was one that may start."""
        self._begin = begin
        self._has_queued = has_queued
        self._slots = asyncio.Semaphore(slots)
        self._woken: dict[OwnerId, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def wake(self, owner: OwnerId) -> None:
        """Something was queued, or has ended."""
        if (woken := self._woken.get(owner)) is not None:
            woken.set()
            return
        self._woken[owner] = asyncio.Event()
        task = asyncio.create_task(self._serve(owner), name="runs: lane")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def free_slot(self) -> None:
        """A run that `begin` has started is over."""
        self._slots.release()

    async def close(self) -> None:
        """Begins nothing more."""
        self._closing = True
        for woken in self._woken.values():
            woken.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, owner: OwnerId) -> None:
        woken = self._woken[owner]
        try:
            while not self._closing:
                woken.clear()
                try:
                    if await self._begun(owner):
                        continue
                    if not await self._has_queued(owner) and not woken.is_set():
                        return
                except Exception:  # whatever it was, what is queued must not wait for ever
                    log.exception("the runs of one owner cannot begin just now")
                await _within(LOOK_AGAIN_S, woken)
        finally:
            del self._woken[owner]

    async def _begun(self, owner: OwnerId) -> bool:
        await self._slots.acquire()
        begun = False
        try:
            begun = await self._begin(owner)
        finally:
            if not begun:
                self._slots.release()
        return begun


async def _within(seconds: float, woken: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
