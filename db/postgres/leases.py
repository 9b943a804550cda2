"""Leases: the asyncpg connections of Howdah's own database, lent by a fair pool."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from db.concurrency.fifo_pool import FifoPool
from db.distributions import Distribution
from db.errors import HowdahError, Overloaded, Unavailable
from db.postgres.route.connect import FAILURES, LONGEST_PAUSE, translate_error

CLOSE_SECONDS = 5

Observer: TypeAlias = Callable[[str], None]
"""Called with the SQL before each statement: for the statement counter of tests, and for traces."""


class Lease(Protocol):
    """A connection in use by one caller at a time."""

    driver: Any
    """The asyncpg connection."""
    autocommit: bool
    """Whether a single statement may run outside `begin()`."""
    is_reading: bool
    """Whether its statement stands alone and changes nothing."""
    lock_ms: int
    """How long a statement waits for a lock, where only `begin()` can limit it; 0 elsewhere."""
    sent: set[str]
    """The statements that were sent lately. One that was not is prepared first, which takes more
    round trips."""

    def begin(self) -> contextlib.AbstractAsyncContextManager[object]:
        """A transaction: committed at the end, rolled back on an error."""


class LeaseSource(Protocol):
    """Source of connections for `Database`: a pool, or one bound connection in tests."""

    @property
    def in_use(self) -> int: ...
    @property
    def opened(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def lent(self) -> Collection[Lease]:
        """The connections in use."""

    @property
    def waits(self) -> Distribution: ...
    @property
    def overloaded(self) -> Callable[[], HowdahError]:
        """Makes the error of callers that have waited too long."""

    async def acquire(self) -> Lease: ...
    def release(self, lease: Any, /, *, broken: bool = False) -> None: ...
    def suspend(self, error: Callable[[], HowdahError]) -> None: ...
    def resume(self) -> None: ...
    async def close(self) -> None: ...


class PooledLease:
    __slots__ = ("driver", "is_reading", "lock_ms", "sent", "settled")
    autocommit = True

    def __init__(self, driver: Any, lock_ms: int = 0) -> None:
        self.driver = driver
        self.lock_ms = lock_ms
        self.sent: set[str] = set()
        self.is_reading = False
        self.settled = True
        """False while a transaction may be open: a cancelled BEGIN may still reach the server."""

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        self.is_reading = self.settled = False
        try:
            await self.driver.execute(f"BEGIN{self._limits()}")
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is reported
                # After a cancellation it waits for the server, which may be unreachable.
                await self.driver.execute("ROLLBACK", timeout=CLOSE_SECONDS)
                self.settled = True
            raise
        status = await self.driver.execute("COMMIT")
        self.settled = True
        if status != "COMMIT":
            raise RuntimeError(
                "the error of a failed statement was caught: the transaction was rolled back"
            )

    def _limits(self) -> str:
        """The SET LOCAL of a transaction behind a pooler, which gives the connection to others."""
        if not self.lock_ms:
            return ""
        limits = {"lock_timeout": str(self.lock_ms), **LONGEST_PAUSE}
        return "".join(f"; SET LOCAL {name} = '{limit}'" for name, limit in limits.items())

    def is_usable(self) -> bool:
        driver = self.driver
        return self.settled and not (driver.is_closed() or driver.is_in_transaction())

    def terminate(self) -> None:
        self.driver.terminate()

    async def close(self) -> None:
        """Closes gracefully; asyncpg terminates the connection after CLOSE_SECONDS."""
        with contextlib.suppress(Exception):  # the connection is discarded in any case
            await self.driver.close(timeout=CLOSE_SECONDS)


@contextlib.asynccontextmanager
async def begin(lease: Lease) -> AsyncIterator[None]:
    """A transaction. Translates its errors that no statement causes."""
    try:
        async with lease.begin():
            yield
    except FAILURES as error:
        if (meaning := translate_error(error, lease.driver)) is None:
            raise
        raise meaning from error


async def fetch_on(
    lease: Lease, sql: str, arguments: Iterable[Any], observe: Observer | None
) -> Sequence[Any]:
    if observe is not None:
        observe(sql)
    driver = lease.driver
    try:
        records: Sequence[Any] = await driver.fetch(sql, *arguments)
    except FAILURES as error:
        if (meaning := translate_error(error, driver, is_reading=lease.is_reading)) is None:
            raise
        # The server may be unreachable, so the cancel may not arrive.
        if isinstance(error, TimeoutError):
            with contextlib.suppress(Exception):
                await driver.close(timeout=CLOSE_SECONDS)
        raise meaning from error
    return records


def open_pool(
    connect: Callable[[float], Awaitable[Any]],
    *,
    size: int,
    wait_ms: int,
    lock_ms: int = 0,
    first: Any | None = None,
    overload_cause: str | None = "database_pool",
) -> FifoPool[PooledLease]:
    """A pool of at most `size` connections; `first` is one that is open already."""

    async def connect_lease(deadline: float) -> PooledLease:
        return PooledLease(await connect(deadline), lock_ms)

    return FifoPool(
        connect_lease,
        size=size,
        wait_s=wait_ms / 1000,
        overloaded=lambda: _overloaded(wait_ms, overload_cause),
        closed=_closed,
        first=None if first is None else PooledLease(first, lock_ms),
    )


def _overloaded(wait_ms: int, cause: str | None) -> Overloaded:
    return Overloaded(
        f"No database connection became free within {wait_ms} ms.",
        hint="Try again in a moment; the operator can raise HOWDAH_DATABASE_POOL_SIZE.",
        retry_after_s=1,
        cause=cause,
    )


def _closed() -> Unavailable:
    return Unavailable("Howdah is stopping.", hint="Try again in a moment.", retry_after_s=1)
