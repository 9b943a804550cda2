"""Slots: each viewer runs two operations at once, their next ones wait.

All operations share one event loop: without slots, one who sends sixty at once makes the small
query of everybody else wait for sixty. Two keep the database and this process busy at once.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Hashable
from typing import TypeAlias

from db.errors import RateLimited
from graph.operations.read_limit import Reads

AT_ONCE = 2
WAITING = 2_000  # a page that reconnects may open a thousand subscriptions together
LASTS_S = 1.0


class Slot:
    """The right of one operation to work. Ends with it, or before."""

    __slots__ = ("_ended", "_ends_at", "_queue", "_timer")

    def __init__(self, queue: "UserQueue", ends_at: float) -> None:
        self._queue = queue
        self._ends_at = ends_at
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """The next may begin; to end a slot again changes nothing."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._queue.grant_next(self)

    def rest(self, seconds: float) -> None:
        """Ends it, a while later if somebody waits: what is not rationed gets the time between."""
        if self._ended or not self._queue.waiting:
            self.end()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def limit(self) -> None:
        """Somebody waits for it: from now on it is looked after that it ends in time."""
        if self._timer is None and not self._ended:
            left_s = self._ends_at - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left_s, 0), self.end)

    @property
    def reads(self) -> Reads:
        """Of all that its viewer has at work."""
        return self._queue.reads

    @property
    def search(self) -> Reads:
        """Of all that its viewer has at work, one read at a time that looks at many rows."""
        return self._queue.search


_Waiter: TypeAlias = asyncio.Future[Slot]


class UserQueue:
    """One viewer's slots that are taken, and who of them waits for the next."""

    __slots__ = ("_slots", "_viewer", "reads", "search", "taken", "waiting")

    def __init__(self, slots: "Slots", viewer: Hashable) -> None:
        self._slots = slots
        self._viewer = viewer
        self.taken: list[Slot] = []
        self.waiting: deque[_Waiter] = deque()
        self.reads = Reads()
        self.search = Reads(1)

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
                waiter.set_result(self.take(self._slots.end_of_one_from_now()))
                break
        if self.waiting:
            self.limit()
        if not self.taken:
            self._slots.forget(self._viewer)


class Slots:
    """Hands out slots, to each viewer first come, first served.

    A slot ends with its operation, or before: when the operation says that it only waits from
    now on, and after `lasts_s` at the latest when others wait. So nothing long holds up what
    would cancel it.
    """

    def __init__(
        self, *, at_once: int = AT_ONCE, waiting: int = WAITING, lasts_s: float = LASTS_S
    ) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._lasts_s = lasts_s
        self._queues: dict[Hashable, UserQueue] = {}

    def take(self, viewer: Hashable) -> Slot | None:
        """A slot for one operation, where there is one at once; else `wait` for it."""
        queue = self._queues.get(viewer)
        if queue is None:
            queue = self._queues[viewer] = UserQueue(self, viewer)
        elif len(queue.taken) >= self._at_once:
            return None
        return queue.take(self.end_of_one_from_now())

    async def wait(self, viewer: Hashable) -> Slot:
        """A slot, once those before have had theirs.

        Raises:
            RateLimited: too many of this viewer's operations wait already.
        """
        queue = self._queues[viewer]
        if len(queue.waiting) >= self._waiting:
            raise RateLimited(
                f"{self._waiting} of your operations wait already.",
                hint="Send the next when some of them are answered.",
                retry_after_s=1,
            )
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        queue.waiting.append(waiter)
        queue.limit()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # `grant_next` has met it already
                    queue.waiting.remove(waiter)
            else:  # it was given in the same moment: it goes to the next
                waiter.result().end()
            raise

    def end_of_one_from_now(self) -> float:
        return time.monotonic() + self._lasts_s

    def forget(self, viewer: Hashable) -> None:
        del self._queues[viewer]
