"""Slots that users share: a user alone may take all, and with others each gets a fair part."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from db.client_networks import network_of_user
from db.concurrency.waiting import drop_error
from db.errors import Overloaded, RateLimited

T = TypeVar("T")

RESERVED_SHARE = 4
"""One slot in this many is reserved for users who hold none."""
SHARE_OF_A_NETWORK = 2
"""Users of one network who together hold one slot in this many get no reserved slot: accounts are
cheap, and many of them with one slot each would leave nothing to others."""


class _Waiter(asyncio.Future[None]):
    def __init__(self, weight: int, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.weight = weight


class FairSlots:
    """A free slot goes to the waiting user who holds the fewest, of equals to the first.

    A user who holds none may take any free slot, others only those that are not reserved. Each
    user's own waiters are served in the order of arrival. Many users of one network do not get the
    reserved slots (`SHARE_OF_A_NETWORK`).
    """

    def __init__(
        self,
        noun: str,
        *,
        total: float = math.inf,
        of_one_user: Callable[[], float] = lambda: math.inf,
        max_waiting: float = math.inf,
        wait_s: float | None = None,
    ) -> None:
        """`noun` names in errors what needs a slot, in the plural.

        `of_one_user` returns how many slots one user may hold at this moment. A user who holds
        none gets one in any case, so that nothing waits for ever.
        """
        self._noun = noun
        self._total = total
        self._shared = total if math.isinf(total) else total - total // RESERVED_SHARE
        self._of_one_user = of_one_user
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._held: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[_Waiter]] = {}
        self._in_use = 0
        self._work: set[asyncio.Future[Any]] = set()  # the event loop holds tasks weakly

    @property
    def in_use(self) -> int:
        return self._in_use

    @property
    def users(self) -> int:
        """The number of users who hold a slot."""
        return len(self._held)

    @property
    def users_waiting(self) -> int:
        return len(self._waiting)

    def is_sole(self, user: Hashable) -> bool:
        """Whether no other user holds a slot or waits for one."""
        return self._held.keys() <= {user} and self._waiting.keys() <= {user}

    def of(self, user: Hashable) -> "Share":
        return Share(self, user)

    async def acquire(self, user: Hashable, weight: int = 1) -> None:
        """Take `weight` slots.

        Raises:
            RateLimited: too many of this user wait already.
            Overloaded: no slot became free in time.
        """
        if not self.take(user, weight):
            await self._wait(user, weight)

    def take(self, user: Hashable, weight: int = 1) -> bool:
        """Take `weight` slots if they are free and no earlier call of the user waits."""
        if user in self._waiting or not self._is_free(user, weight):
            return False
        self._hold(user, weight)
        return True

    def release(self, user: Hashable, weight: int = 1) -> None:
        self._in_use -= weight
        left = self._held.pop(user) - weight
        if left:
            self._held[user] = left
        if self._waiting:
            self._grant(user)

    async def run(self, user: Hashable, begin: Callable[[], Awaitable[T]]) -> T:
        """Runs work in a slot, which it keeps to its end, also if its caller is cancelled.

        A thread, for one, goes on when nothing waits for it any more.

        Raises:
            RateLimited, Overloaded: see `acquire`.
        """
        await self.acquire(user)
        try:
            work = asyncio.ensure_future(begin())
        except BaseException:
            self.release(user)
            raise
        self._work.add(work)

        def end(_: object) -> None:
            self._work.discard(work)
            self.release(user)
            drop_error(work)

        work.add_done_callback(end)
        return await asyncio.shield(work)

    def cancel_work(self) -> None:
        """Cancels what `run` has begun."""
        for work in list(self._work):
            work.cancel()

    def fail(self, user: Hashable, error: Exception) -> None:
        """Raise the error in all that wait for a slot of this user."""
        for waiter in self._waiting.pop(user, ()):
            if not waiter.done():
                waiter.set_exception(error)

    def _is_free(self, user: Hashable, weight: int) -> bool:
        held = self._held.get(user)
        if held is None:
            return self._in_use < self._total and self._may_use_reserve(user)
        return self._in_use + weight <= self._shared and held + weight <= self._of_one_user()

    def _may_use_reserve(self, user: Hashable) -> bool:
        """Whether a user who holds none gets a slot also if only reserved ones are free."""
        if self._in_use < self._shared or (network := network_of_user(user)) is None:
            return True
        together = sum(
            held for other, held in self._held.items() if network_of_user(other) == network
        )
        return together * SHARE_OF_A_NETWORK < self._total

    def _hold(self, user: Hashable, weight: int) -> None:
        self._in_use += weight
        self._held[user] = self._held.get(user, 0) + weight

    async def _wait(self, user: Hashable, weight: int) -> None:
        queue = self._waiting.setdefault(user, deque())
        if len(queue) >= self._max_waiting:
            raise RateLimited(
                f"{self._max_waiting} of your {self._noun} are already queued.",
                hint="Wait for some of them to complete, then retry.",
                retry_after_s=1,
            )
        waiter = _Waiter(weight, loop=asyncio.get_running_loop())
        queue.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter
        except TimeoutError:
            self._leave(user, waiter)
            raise Overloaded(
                f"Too many {self._noun} are running at once.",
                hint="Run fewer at once, or try again later.",
                retry_after_s=1,
                cause=self._noun.replace(" ", "_"),
            ) from None
        except asyncio.CancelledError:
            self._leave(user, waiter)
            raise

    def _leave(self, user: Hashable, waiter: _Waiter) -> None:
        """Remove a waiter that was cancelled, or return what it was granted at the same time."""
        if not waiter.cancelled():
            if waiter.exception() is None:
                self.release(user, waiter.weight)
            return
        queue = self._waiting.get(user)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._waiting[user]
            self._grant(user)  # the next may need fewer slots

    def _grant(self, user: Hashable) -> None:
        while (user := self._next(user)) is not None:
            queue = self._waiting[user]
            waiter = queue[0]
            if not waiter.done():
                if not self._is_free(user, waiter.weight):
                    return
                self._hold(user, waiter.weight)
                waiter.set_result(None)
            queue.popleft()
            if not queue:
                del self._waiting[user]

    def _next(self, user: Hashable) -> Hashable | None:
        """The user who is served next. Without a total, users do not depend on each other."""
        if math.isinf(self._total):
            return user if user in self._waiting else None
        served = (one for one in self._waiting if one in self._held or self._may_use_reserve(one))
        return min(served, key=lambda one: self._held.get(one, 0), default=None)


class Share:
    """The slots of one user: hold one while working.

    If the work fails with Overloaded, everything that waits for a slot of this user fails with it,
    unless the error has no cause: the work is repeated elsewhere.
    """

    __slots__ = ("_slots", "_user")

    def __init__(self, slots: FairSlots, user: Hashable) -> None:
        self._slots = slots
        self._user = user

    @property
    def is_of_sole_user(self) -> bool:
        """Whether no other user holds a slot or waits for one."""
        return self._slots.is_sole(self._user)

    async def __aenter__(self) -> None:
        await self._slots.acquire(self._user)

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Overloaded) and error.cause is not None:
            self._slots.fail(self._user, error)
        self._slots.release(self._user)
