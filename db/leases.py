"""Connections to our own database, lent first come, first served.

SQLAlchemy's asynchronous pool starves waiters under load (speed.md: p99 433 ms against 46). So the
engine makes the connections, and this lends them: whoever has waited longest is next.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from db.errors import Overloaded

CLOSE_SECONDS = 5


class Lease(Protocol):
    """One connection, lent to one caller at a time."""

    driver: Any
    """The asyncpg connection."""
    autocommit: bool
    """Whether a single statement may run outside `begin()`."""

    def begin(self) -> contextlib.AbstractAsyncContextManager[object]:
        """A transaction: committed at the end, rolled back on an error."""


class Lender(Protocol):
    """What `Database` asks for connections: a pool, or in tests one bound connection."""

    async def acquire(self) -> Lease: ...
    async def release(self, lease: Lease, *, broken: bool = False) -> None: ...
    async def close(self) -> None: ...


class PooledLease:
    """A connection of the pool."""

    __slots__ = ("autocommit", "connection", "driver")

    def __init__(self, connection: AsyncConnection, driver: Any, *, autocommit: bool) -> None:
        self.connection = connection
        self.driver = driver
        self.autocommit = autocommit

    def begin(self) -> contextlib.AbstractAsyncContextManager[object]:
        transaction: contextlib.AbstractAsyncContextManager[object] = self.driver.transaction()
        return transaction

    async def close(self) -> None:
        """Gently, and when that takes too long, hard."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.connection.close()
        except TimeoutError:
            self.driver.terminate()
        except Exception:  # noqa: BLE001 - it is leaving; why it could not leave well changes nothing
            self.driver.terminate()


class Pool:
    """At most `size` connections; who waits longer than `wait_ms` is told to come back."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[PooledLease]],
        *,
        size: int,
        wait_ms: int,
        first: PooledLease | None = None,
    ) -> None:
        self._connect = connect
        self._size = size
        self._wait_ms = wait_ms
        self._idle: list[PooledLease] = [] if first is None else [first]
        self._waiting: deque[asyncio.Future[PooledLease | None]] = deque()
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
            await self._drop(lease)
        if self._count < self._size:
            return await self._open_one()
        lent = await self._wait()
        return await self._open_one(counted=True) if lent is None else lent

    async def release(self, lease: Lease, *, broken: bool = False) -> None:
        assert isinstance(lease, PooledLease)  # noqa: S101 - a lease goes back where it came from
        if broken:
            await self._drop_idle()  # what ended this one has ended them too, most likely
        driver = lease.driver
        if broken or self._closed or driver.is_closed() or driver.is_in_transaction():
            await self._drop(lease)
        elif not self._hand_over(lease):
            self._idle.append(lease)

    async def close(self) -> None:
        self._closed = True
        await self._drop_idle()

    async def _wait(self) -> PooledLease | None:
        """A lease handed over, or None: a place in the pool in which to open one."""
        waiter: asyncio.Future[PooledLease | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._wait_ms / 1000):
                return await waiter
        except BaseException as error:
            await self._take_back(waiter)
            if isinstance(error, TimeoutError):
                raise _overloaded(self._wait_ms) from None
            raise

    async def _take_back(self, waiter: asyncio.Future[PooledLease | None]) -> None:
        if not waiter.done():
            waiter.cancel()
        if waiter.cancelled():
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)
        elif (lease := waiter.result()) is not None:
            await self.release(lease)
        else:
            self._give_up_place()

    def _hand_over(self, lease: PooledLease | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(lease)
                return True
        return False

    async def _open_one(self, *, counted: bool = False) -> PooledLease:
        if not counted:
            self._count += 1
        try:
            return await self._connect()
        except BaseException:
            self._give_up_place()
            raise

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for lease in idle:
            await self._drop(lease)

    async def _drop(self, lease: PooledLease) -> None:
        self._give_up_place()
        await lease.close()

    def _give_up_place(self) -> None:
        if not self._hand_over(None):
            self._count -= 1


@contextlib.asynccontextmanager
async def leased(lender: Lender) -> AsyncIterator[Lease]:
    lease = await lender.acquire()
    try:
        yield lease
    finally:
        await lender.release(lease)


def _overloaded(wait_ms: int) -> Overloaded:
    return Overloaded(
        f"No database connection became free within {wait_ms} ms.",
        hint="Try again in a moment; the operator can raise HOWDAH_DATABASE_POOL_SIZE.",
        retry_after_s=1,
    )
