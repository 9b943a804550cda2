"""A fair (first in, first out) pool of connections; decision 0012 has the reasons."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Generic, Protocol, TypeVar, cast

from db.distributions import Distribution
from db.errors import HowdahError


class Resource(Protocol):
    """A connection in a pool. The pool ends each one once, by `terminate` or `close`."""

    def is_usable(self) -> bool:
        """Whether it may be lent. Asked before it is lent and when it is released."""

    def terminate(self) -> None: ...

    async def close(self) -> None:
        """Ends it gracefully. Raises nothing."""


R = TypeVar("R", bound=Resource)


class _Waiter(asyncio.Future[Any]):
    """Resolves to a resource, or to None: a permit to open one."""

    def __init__(self, deadline: float, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.deadline = deadline


class FifoPool(Generic[R]):
    """Lends at most `size` resources, each to one borrower, in the order of the requests."""

    def __init__(
        self,
        connect: Callable[[float], Awaitable[R]],
        *,
        size: int,
        wait_s: float,
        overloaded: Callable[[], HowdahError],
        closed: Callable[[], HowdahError],
        first: R | None = None,
    ) -> None:
        """`connect` gets the deadline of the borrower, in the time of the event loop.

        If it fails, its borrower gets the error, and the next waiter may open a resource.
        """
        self._connect = connect
        self._size = size
        self._wait_s = wait_s
        self.overloaded = overloaded
        self._closed_error = closed
        self._refuses = False
        self._refusal = closed
        self._idle: list[R] = [] if first is None else [first]
        self._opened = set(self._idle)
        self._permits = 0  # granted and not yet used: an open resource may come of each
        self._waiting: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._attempts: set[asyncio.Timeout] = set()
        self._closed = False
        self.waits = Distribution()
        """Seconds that borrowers waited, of those for whom no resource was idle."""

    @property
    def opened(self) -> int:
        """The number of open resources, idle ones included."""
        return len(self._opened)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """The number of resources that are lent or being opened."""
        return len(self._opened) + self._permits - len(self._idle)

    @property
    def lent(self) -> Collection[R]:
        return self._opened.difference(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def acquire(self) -> R:
        """Raises the `overloaded` error after `wait_s`, and the `closed` error after `close`."""
        if (resource := self.take_idle()) is not None:
            return resource
        if self._refuses:
            raise self._refusal()
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self._wait_s
        try:
            if len(self._opened) + self._permits < self._size:
                self._permits += 1
                return await self._open(deadline)
            return await self._wait(deadline) or await self._open(deadline)
        finally:
            self.waits.add(loop.time() - began)

    def take_idle(self) -> R | None:
        """An idle resource, or None: does not wait, and opens none."""
        while self._idle:
            resource = self._idle.pop()
            if resource.is_usable():
                return resource
            self._opened.remove(resource)  # idle resources exist only without waiters
            resource.terminate()
        return None

    def release(self, resource: R, *, broken: bool = False) -> None:
        """Ends the resource unless it is usable. `broken` ends the idle ones too.

        Does not await: a cancelled borrower would leak the resource.
        """
        if not broken and resource.is_usable():
            if self._waiting or self._closed:
                self._grant_next(resource)
            else:
                self._idle.append(resource)
            return
        if broken:
            self.drop_idle()  # the cause has probably broken them too
        self._opened.remove(resource)
        self._permits += 1
        resource.terminate()
        self._grant_next(None)

    def drop_idle(self, is_due: Callable[[R], bool] | None = None) -> None:
        """Ends the idle resources, or those of them that are due."""
        idle, self._idle = self._idle, []
        for resource in idle:
            if is_due is None or is_due(resource):
                self._opened.remove(resource)
                resource.terminate()
            else:
                self._idle.append(resource)

    def suspend(self, error: Callable[[], HowdahError]) -> None:
        """Ends idle resources, and fails waiters and attempts to open; until `resume` new ones too.

        A resource that is released in the meantime may be lent.
        """
        if not self._closed:
            self._refuse(error)
            self.drop_idle()

    def resume(self) -> None:
        """Ends what `suspend` began."""
        self._refuses = self._closed

    def _refuse(self, error: Callable[[], HowdahError]) -> None:
        self._refuses, self._refusal = True, error
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error())
        for attempt in self._attempts:
            if not attempt.expired():
                attempt.reschedule(0)

    async def close(self) -> None:
        """Fails waiters and attempts to open, and ends each resource as soon as it is idle."""
        self._closed = True
        self._refuse(self._closed_error)
        if self._timer is not None:
            self._timer.cancel()
        idle, self._idle = self._idle, []
        self._opened.difference_update(idle)
        await asyncio.gather(*(resource.close() for resource in idle))

    async def _open(self, deadline: float) -> R:
        """Uses a permit."""
        if self._refuses:
            self._grant_next(None)
            raise self._refusal()
        attempt = asyncio.timeout(None)  # `_refuse` ends it
        try:
            async with attempt:
                self._attempts.add(attempt)
                try:
                    resource = await self._connect(deadline)
                finally:
                    self._attempts.discard(attempt)
        except BaseException as error:
            self._grant_next(None)
            if attempt.expired() and isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise
        self._permits -= 1
        self._opened.add(resource)
        return resource

    async def _wait(self, deadline: float) -> R | None:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(deadline, loop=loop)
        self._waiting.append(waiter)
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._expire_waiters)
        try:
            return cast("R | None", await waiter)
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise

    def _abandon(self, waiter: _Waiter) -> None:
        """Handles a cancelled waiter; what it was granted at the same time goes to the next."""
        if waiter.cancel() or waiter.cancelled():
            with contextlib.suppress(ValueError):  # `_grant_next` has removed it
                self._waiting.remove(waiter)
        elif waiter.exception() is None:
            self._grant_next(waiter.result())

    def _expire_waiters(self) -> None:
        """Fails expired waiters. One timer suffices: the queue is ordered by deadline."""
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0].deadline <= loop.time():
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(self.overloaded())
        self._timer = None
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0].deadline, self._expire_waiters)

    def _grant_next(self, granted: R | None) -> None:
        """Gives a resource, or None for a permit to open one, to the next waiter."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(granted)
                return
        if granted is None:
            self._permits -= 1
        elif self._closed:
            self._opened.remove(granted)
            granted.terminate()
        else:
            self._idle.append(granted)
