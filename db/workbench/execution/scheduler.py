"""Starts queued runs: first in, first out for each owner, owners with few runs first."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from db.fair_slots import FairSlots
from db.kit.base import OwnerId
from db.waiting import wait_up_to

log = logging.getLogger(__name__)

CLOSE_S = 1.0
POLL_S = 1.0
"""How often the queue is read again: runs that end in another process send no wake-up."""

StartNext = Callable[[OwnerId], Awaitable[bool]]


class RunScheduler:
    """Starts runs while this process has a free slot and the owner is below their limit."""

    def __init__(self, start_next: StartNext, has_queued: StartNext, *, slots: int) -> None:
        """`start_next` starts the owner's next run; it returns whether one was started."""
        self._start_next = start_next
        self._has_queued = has_queued
        self._slots = FairSlots("runs", total=slots)
        self._wake_events: dict[OwnerId, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def wake(self, owner: OwnerId) -> None:
        """Call after a run of the owner was queued or has finished."""
        if (woken := self._wake_events.get(owner)) is not None:
            woken.set()
            return
        self._wake_events[owner] = asyncio.Event()
        task = asyncio.create_task(self._serve(owner), name="runs: scheduler")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def free_slot(self, owner: OwnerId) -> None:
        """Call when a run that `start_next` started has finished."""
        self._slots.release(owner)

    async def close(self) -> None:
        """Starts no more runs. Runs that already started are not affected."""
        self._closing = True
        for woken in self._wake_events.values():
            woken.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, owner: OwnerId) -> None:
        woken = self._wake_events[owner]
        try:
            while not self._closing:
                woken.clear()
                try:
                    if await self._try_start(owner):
                        continue
                    if not await self._has_queued(owner) and not woken.is_set():
                        return
                except Exception:  # any error: queued runs must not wait for ever
                    log.exception("cannot start the queued runs of an owner, will retry")
                await wait_up_to(POLL_S, woken.wait())
        finally:
            del self._wake_events[owner]

    async def _try_start(self, owner: OwnerId) -> bool:
        await self._slots.acquire(owner)
        started = False
        try:
            started = await self._start_next(owner)
        finally:
            if not started:
                self._slots.release(owner)
        return started
