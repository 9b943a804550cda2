"""A fair (FIFO) connection pool for Howdah's own database.

SQLAlchemy's asynchronous pool starves waiters under load: p99 433 ms against 46
(docs/performance.md).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from db.errors import Overloaded, Unavailable

CLOSE_SECONDS = 5


class Lease(Protocol):
    """A connection in use by one caller at a time."""

    driver: Any
    """The asyncpg connection."""
    autocommit: bool
    """Whether a single statement may run outside `begin()`."""

    def begin(self) -> contextlib.AbstractAsyncContextManager[object]:
        """A transaction: committed at the end, rolled back on an error."""


class LeaseSource(Protocol):
    """Source of connections for `Database`: a pool, or one bound connection in tests."""

    @property
    def in_use(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    async def acquire(self) -> Lease: ...
    async def release(self, lease: Lease, *, broken: bool = False) -> None: ...
    async def close(self) -> None: ...


class PooledLease:
    __slots__ = ("driver", "settled")
    autocommit = True

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.settled = True
        """False while a transaction may be open: a cancelled BEGIN may still reach the server."""

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        self.settled = False
        try:
            await self.driver.execute("BEGIN")
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is reported
                await self.driver.execute("ROLLBACK")
                self.settled = True
            raise
        status = await self.driver.execute("COMMIT")
        self.settled = True
        if status != "COMMIT":
            raise RuntimeError(
                "the error of a failed statement was caught: the transaction was rolled back"
            )

    async def close(self) -> None:
        """Closes gracefully; asyncpg terminates the connection after CLOSE_SECONDS."""
        with contextlib.suppress(Exception):  # the connection is discarded in any case
            await self.driver.close(timeout=CLOSE_SECONDS)


class _Waiter(asyncio.Future["PooledLease | None"]):
    """Resolves to a lease, or to None: permission to open a new connection."""

    def __init__(self, deadline: float, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.deadline = deadline


class Pool:
    """At most `size` connections; `acquire` raises Overloaded after `wait_ms`."""

    def __init__(
        self,
        connect: Callable[[float], Awaitable[Any]],
        *,
        size: int,
        wait_ms: int,
        first: Any | None = None,
    ) -> None:
        """`connect` gets its deadline, in the time of the event loop."""
        self._connect = connect
        self._size = size
        self._wait_ms = wait_ms
        self._idle = [] if first is None else [PooledLease(first)]
        self._waiting: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._count = len(self._idle)
        self._closed = False

    @property
    def in_use(self) -> int:
        return self._count - len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def acquire(self) -> PooledLease:
        while self._idle:
            lease = self._idle.pop()
            if not lease.driver.is_closed():
                return lease
            self._count -= 1  # idle connections exist only without waiters
        if self._closed:
            raise _closed()
        deadline = asyncio.get_running_loop().time() + self._wait_ms / 1000
        if self._count < self._size:
            self._count += 1
            return await self._open(deadline)
        return await self._wait(deadline) or await self._open(deadline)

    async def release(self, lease: Lease, *, broken: bool = False) -> None:
        """Does not await: a cancelled caller would leak the connection."""
        assert isinstance(lease, PooledLease)  # noqa: S101 - it was acquired from this pool
        if broken:
            self._drop_idle()  # the cause has probably broken them too
        driver = lease.driver
        if driver.is_closed():
            self._grant_next(None)
        elif broken or not lease.settled or driver.is_in_transaction():
            driver.terminate()
            self._grant_next(None)
        else:
            self._grant_next(lease)

    async def close(self) -> None:
        self._closed = True
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(_closed())
        if self._timer is not None:
            self._timer.cancel()
        idle, self._idle = self._idle, []
        self._count -= len(idle)
        await asyncio.gather(*(lease.close() for lease in idle))

    async def _wait(self, deadline: float) -> PooledLease | None:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(deadline, loop=loop)
        self._waiting.append(waiter)
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._expire_waiters)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise

    def _abandon(self, waiter: "_Waiter") -> None:
        """Handles a cancelled waiter; a lease granted at the same time goes to the next."""
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
                waiter.set_exception(_overloaded(self._wait_ms))
        self._timer = None
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0].deadline, self._expire_waiters)

    def _grant_next(self, lease: PooledLease | None) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(lease)
                return
        if lease is not None and not self._closed:
            self._idle.append(lease)
            return
        self._count -= 1
        if lease is not None:
            lease.driver.terminate()

    async def _open(self, deadline: float) -> PooledLease:
        try:
            return PooledLease(await self._connect(deadline))
        except BaseException:
            self._grant_next(None)
            raise

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        self._count -= len(idle)
        for lease in idle:
            lease.driver.terminate()


def _overloaded(wait_ms: int) -> Overloaded:
    return Overloaded(
        f"No database connection became free within {wait_ms} ms.",
        hint="Try again in a moment; the operator can raise HOWDAH_DATABASE_POOL_SIZE.",
        retry_after_s=1,
    )


def _closed() -> Unavailable:
    return Unavailable("Howdah is stopping.", hint="Try again in a moment.", retry_after_s=1)
