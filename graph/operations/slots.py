"""Slots: each viewer runs some operations and twice as many reads concurrently; further ones wait.

All operations share one event loop. Without slots, sixty operations of one user delay the small
query of every other user. Two keep a database on the same machine and this process busy at the same
time. While operations wait for a distant one, they occupy nothing, so that more of them run.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Hashable
from types import TracebackType
from typing import TypeAlias

from db.errors import Overloaded, RateLimited

AT_ONCE = 2
READS_OF_ONE_OPERATION = 2
READS_AT_ONCE = AT_ONCE * READS_OF_ONE_OPERATION
MAX_WAITING = 2_000  # a page that reconnects may open a thousand subscriptions at once
LASTS_S = 1.0


class ReadSlots(asyncio.Semaphore):
    """Hold this while reading. If a read fails with Overloaded, all queued reads fail with it."""

    def __init__(self, at_once: int = READS_AT_ONCE) -> None:
        super().__init__(at_once)
        self._overloaded: Overloaded | None = None
        self._overloaded_at = 0.0

    async def __aenter__(self) -> None:
        if not self.locked():
            await self.acquire()
            return
        asked_at = time.monotonic()
        await self.acquire()
        if self._overloaded is not None and self._overloaded_at >= asked_at:
            self.release()
            raise self._overloaded

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Overloaded):
            self._overloaded = error
            self._overloaded_at = time.monotonic()
        self.release()


class Slot:
    """Permits one operation to run. Released when the operation ends, or earlier."""

    __slots__ = ("_ended", "_ends_at", "_queue", "_timer", "second")

    def __init__(self, queue: "UserQueue", ends_at: float) -> None:
        self._queue = queue
        self._ends_at = ends_at
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self.second: Slot | None = None
        """Of a heavy operation; it is released with this one."""

    def end(self) -> None:
        """Grant the slot to the next operation. Idempotent."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._queue.grant_next(self)
        if self.second is not None:
            self.second.end()

    def end_after(self, seconds: float) -> None:
        """Release the slot: after a delay if operations wait, so that other work can run first."""
        if self._ended or not self._queue.waiting:
            self.end()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def limit(self) -> None:
        """Start the timer that releases the slot, because an operation waits for it."""
        if self._timer is None and not self._ended:
            left_s = self._ends_at - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left_s, 0), self.end)

    @property
    def reads(self) -> ReadSlots:
        """Limits the concurrent reads of the viewer."""
        return self._queue.reads

    @property
    def search(self) -> ReadSlots:
        """Limits the viewer to one large read at a time."""
        return self._queue.search


_Waiter: TypeAlias = asyncio.Future[Slot]


class UserQueue:
    """The slots that one viewer holds, and the operations that wait for the next."""

    __slots__ = ("_slots", "_viewer", "reads", "search", "taken", "waiting")

    def __init__(self, slots: "Slots", viewer: Hashable, reads: int) -> None:
        self._slots = slots
        self._viewer = viewer
        self.taken: list[Slot] = []
        self.waiting: deque[_Waiter] = deque()
        self.reads = ReadSlots(reads)
        self.search = ReadSlots(1)

    def take(self, ends_at: float) -> Slot:
        slot = Slot(self, ends_at)
        self.taken.append(slot)
        return slot

    def limit(self) -> None:
        for slot in self.taken:
            slot.limit()

    def grant_next(self, ended: Slot) -> None:
        self.taken.remove(ended)
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(self.take(self._slots.next_expiry()))
                break
        if self.waiting:
            self.limit()
        if not self.taken:
            self._slots.forget(self._viewer)


class Slots:
    """Grants slots, to each viewer in order of arrival.

    A slot is released when its operation ends or calls `end`, and after `lasts_s` at the latest
    if others wait. A long operation therefore never blocks the one that would cancel it.
    """

    def __init__(
        self, *, at_once: int = AT_ONCE, waiting: int = MAX_WAITING, lasts_s: float = LASTS_S
    ) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._lasts_s = lasts_s
        self._queues: dict[Hashable, UserQueue] = {}

    def take(self, viewer: Hashable, at_once: int = 0) -> Slot | None:
        """A slot if one is free. If it returns None, call `wait`.

        `at_once` raises the limit of this viewer.
        """
        at_once = max(at_once, self._at_once)
        queue = self._queues.get(viewer)
        if queue is None:
            reads = at_once * READS_OF_ONE_OPERATION
            queue = self._queues[viewer] = UserQueue(self, viewer, reads)
        elif len(queue.taken) >= at_once:
            return None
        return queue.take(self.next_expiry())

    async def wait(self, viewer: Hashable) -> Slot:
        """Wait in the queue for a slot.

        Raises:
            RateLimited: the queue of this viewer is full.
        """
        queue = self._queues[viewer]
        if len(queue.waiting) >= self._waiting:
            raise RateLimited(
                f"{self._waiting} of your operations are already queued.",
                hint="Wait for some of them to complete, then retry.",
                retry_after_s=1,
            )
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        queue.waiting.append(waiter)
        queue.limit()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # `grant_next` has removed it
                    queue.waiting.remove(waiter)
            else:  # granted at the same time: pass it on
                waiter.result().end()
            raise

    def next_expiry(self) -> float:
        return time.monotonic() + self._lasts_s

    def forget(self, viewer: Hashable) -> None:
        del self._queues[viewer]
