"""The slots of runs, and the start of queued runs.

A run takes a free slot at once. Without one it is queued: first in, first out for each owner,
owners with few runs first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from db.concurrency.fair_slots import FairSlots
from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import TaskSet, cancel_all, in_background, wait_up_to
from db.events import Subscription
from db.kit.base import OwnerId

log = logging.getLogger(__name__)

CLOSE_S = 1.0
POLL_S = 2.0
"""The queue is read again after this time without a change: an event may be lost."""

StartNext = Callable[[OwnerId], Awaitable[bool]]
Listen = Callable[[OwnerId], AbstractAsyncContextManager[Subscription]]


class RunScheduler:
    """Starts runs while this process has a free slot and the owner is below their limit."""

    def __init__(
        self, start_next: StartNext, has_queued: StartNext, listen: Listen, *, slots: int
    ) -> None:
        """`start_next` starts the owner's next run; it returns whether one was started.

        `listen` subscribes to the changes of the owner's runs, of all processes.
        """
        self._start_next = start_next
        self._has_queued = has_queued
        self._listen = listen
        self._slots = FairSlots("runs", total=slots)
        self._wake_events: dict[OwnerId, asyncio.Event] = {}
        self._tasks = TaskSet()
        self._closing = False

    @property
    def users_waiting(self) -> int:
        """The number of owners with queued runs."""
        return len(self._wake_events)

    def take_slot(self, owner: OwnerId) -> bool:
        """Takes a slot for a new run, unless older runs of the owner are queued here."""
        return owner not in self._wake_events and not self._closing and self._slots.take(owner)

    def wake(self, owner: OwnerId) -> None:
        """Call after a run of the owner was queued."""
        if (woken := self._wake_events.get(owner)) is not None:
            woken.set()
            return
        self._wake_events[owner] = asyncio.Event()
        self._tasks.start(self._serve(owner), name="runs: scheduler")

    def free_slot(self, owner: OwnerId) -> None:
        """Call when a run has finished that `take_slot` or `start_next` had a slot for."""
        self._slots.release(owner)
        if (woken := self._wake_events.get(owner)) is not None:
            woken.set()

    async def close(self) -> None:
        """Starts no more runs. Runs that already started are not affected."""
        self._closing = True
        for woken in self._wake_events.values():
            woken.set()
        await self._tasks.wait(CLOSE_S)
        await cancel_all(self._tasks)

    async def _serve(self, owner: OwnerId) -> None:
        """Starts the runs of an owner until none is queued."""
        woken = self._wake_events[owner]
        # Of this owner, as long as runs are queued: their failures hide none of another owner.
        retry_log = RetryLog(log, f"start the queued runs of user_{owner.hex}")
        async with (
            self._listen(owner) as changes,
            in_background(_wake_on(changes, woken), name="runs: changes"),
        ):
            try:
                while not self._closing:
                    woken.clear()
                    with retry_log.attempt():  # queued runs must not wait for ever
                        if await self._try_start(owner):
                            continue
                        if not await self._has_queued(owner) and not woken.is_set():
                            return
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


async def _wake_on(changes: Subscription, woken: asyncio.Event) -> None:
    async for _ in changes:
        woken.set()
