"""Howdah's own database: lends sessions, and commits. Only this module commits."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import text

from db.concurrency.fair_slots import Share
from db.concurrency.waiting import Backoff, retry
from db.distributions import Distribution
from db.errors import Overloaded, Unavailable
from db.postgres.gathering.calls import Rows
from db.postgres.gathering.gatherer import Gatherer
from db.postgres.leases import LeaseSource, Observer, begin, fetch_on, open_pool
from db.postgres.monitoring.figures import DatabaseFigures
from db.postgres.monitoring.slow_statements import SlowStatements
from db.postgres.pulse import Pulse, silent_error
from db.postgres.route.connect import PREPARED_STATEMENTS, Dropped
from db.postgres.route.pooling import Route
from db.postgres.sessions import Session, SingleReads, TextBudget, WriteSession
from db.postgres.statements import Statement, compile_statement

T = TypeVar("T")
log = logging.getLogger(__name__)

ATTEMPTS = 5
BACKOFF = Backoff(first_s=0.01, longest_s=0.08)
POOL_SIZE = 32
WAIT_MS = 3_000
RESERVED = 2
PING_S = 1.5
_RETRYABLE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_PING = compile_statement(text("SELECT 1"))


class Database:
    """Lends sessions: `read()` for reads, `transaction(work)` and `write(work)` for changes."""

    def __init__(
        self,
        source: LeaseSource,
        reserve: LeaseSource,
        *,
        size: int = POOL_SIZE,
        wait_ms: int = WAIT_MS,
    ) -> None:
        self.size = size
        self.figures = DatabaseFigures()
        self._source = source
        self._reserve = reserve
        self._gatherer = self._gather_for(source, size, wait_ms)
        self._reserve_gatherer = self._gather_for(reserve, RESERVED, WAIT_MS)
        self.observe: Observer | None = None
        self.pulse: Pulse | None = None
        self.is_pooled = False
        """Whether a pooler in transaction mode is between this process and the database."""
        self.answered_at = 0.0
        """When a statement outside `transaction` was answered last, in `time.perf_counter`."""

    @property
    def in_use(self) -> int:
        """The number of connections in use."""
        return self._source.in_use

    @property
    def opened(self) -> int:
        """The number of open connections, without those of the reserve."""
        return self._source.opened

    @property
    def waits(self) -> Distribution:
        """Seconds that statements and transactions waited for a connection."""
        return self._source.waits

    @property
    def waiting(self) -> int:
        """The number of callers waiting for a connection, or for a statement like theirs."""
        return self._source.waiting + self._gatherer.waiting

    @property
    def is_busy(self) -> bool:
        """Whether a caller waits for the database."""
        return self.in_use > 0 or self._reserve.in_use > 0

    @property
    def concurrency(self) -> int:
        """How many statements keep the database busy: two, and more if it is distant."""
        return self._gatherer.concurrency

    @property
    def round_trip_s(self) -> float:
        """How distant the database is: the shortest recent time of a statement."""
        return self._gatherer.round_trip_s

    def read(
        self,
        *,
        reserved: bool = False,
        share: Share | None = None,
        text_budget: TextBudget | None = None,
    ) -> SingleReads:
        """Opens a session for one batch of reads. `reserved` works with an exhausted pool.

        It holds nothing between statements, so a single one may omit `async with`. `share` is held
        during each statement that occupies a connection by itself.
        """
        gatherer = self._reserve_gatherer if reserved else self._gatherer
        return SingleReads(gatherer, share, text_budget)

    def transaction(
        self, work: Callable[[Session], Awaitable[T]], *, reserved: bool = False
    ) -> Coroutine[Any, Any, T]:
        """Runs `work` in a transaction; retries serialization failures and deadlocks.

        `work` may run several times, so it has no side effects outside the database. A lost
        connection is not retried, because the commit may have happened. `reserved` is as in `read`.
        """
        return self._retry_conflicts(lambda: self._in_transaction(work, reserved=reserved))

    def write(
        self, work: Callable[[Session], Awaitable[T]], *, reserved: bool = False
    ) -> Coroutine[Any, Any, T]:
        """Like `transaction`, for work with a single change: sends no BEGIN and COMMIT.

        Each statement is its own transaction; reads may precede or follow the change.
        `reserved` is as in `read`.
        """
        gatherer = self._reserve_gatherer if reserved else self._gatherer
        return self._retry_conflicts(lambda: work(WriteSession(gatherer)))

    async def ping(self) -> None:
        """Raises Unavailable if the database does not respond within PING_S."""
        try:
            async with asyncio.timeout(PING_S), self.read(reserved=True) as session:
                await session.value(_PING)
        except TimeoutError as error:
            raise Unavailable(
                f"The database did not answer within {PING_S} s.",
                hint="Check that it runs and is not overloaded.",
                retry_after_s=1,
            ) from error

    def suspend(self) -> None:
        """Fails the reads that are under way, and all callers until `resume`. Repeatable.

        A change that is under way waits for its answer, because it may have happened.
        """
        for source in (self._source, self._reserve):
            source.suspend(silent_error)
            for lease in source.lent:
                if lease.is_reading:
                    lease.driver.terminate()

    def resume(self) -> None:
        for source in (self._source, self._reserve):
            source.resume()

    def report_slow_statements(self, *, limit_ms: int, plans: bool) -> None:
        """Log those that take `limit_ms` or longer, and their plans."""
        SlowStatements.watch(self.figures, self._source, limit_ms=limit_ms, plans=plans)

    async def close(self) -> None:
        if self.pulse is not None:
            await self.pulse.close()
        await self._source.close()
        await self._reserve.close()

    async def _in_transaction(
        self, work: Callable[[Session], Awaitable[T]], *, reserved: bool
    ) -> T:
        # The reserve is small: alone, it would refuse many at once while the pool is idle.
        source = self._reserve if reserved and self.in_use >= self.size else self._source
        lease = await source.acquire()
        try:
            async with begin(lease):
                return await work(Session(lease, self.observe, self.figures))
        finally:
            source.release(lease)

    def _gather_for(self, source: LeaseSource, size: int, wait_ms: int) -> Gatherer:
        async def send(
            statement: Statement[Any], sql: str, arguments: Iterable[Any]
        ) -> tuple[Rows, float, bool]:
            try:
                return await self._send(source, statement, sql, arguments)
            except Dropped as error:
                self.figures.lost += 1
                if statement.changes:
                    raise
                if self.pulse is None or not self.pulse.is_silent:
                    log.debug(  # an outage is one warning of the heartbeat; the metrics count each
                        "lost a connection to the database; retrying the read: %r", error.__cause__
                    )
            return await self._send(source, statement, sql, arguments)

        return Gatherer(
            send, source.overloaded, size=size, wait_ms=wait_ms, batches=self.figures.batches
        )

    async def _send(
        self,
        source: LeaseSource,
        statement: Statement[Any],
        sql: str,
        arguments: Iterable[Any],
    ) -> tuple[Rows, float, bool]:
        """Runs one statement in a transaction of its own.

        Returns the rows, the time that it took, and whether it had to be prepared first.
        """
        lease = await source.acquire()
        is_new = sql not in lease.sent
        lease.is_reading = not statement.changes
        kind = self.figures.changes if statement.changes else self.figures.reads
        broken = False
        began = time.perf_counter()
        try:
            if lease.autocommit and (lease.is_reading or not lease.lock_ms):
                rows = await fetch_on(lease, sql, arguments, self.observe)
            else:
                async with begin(lease):
                    rows = await fetch_on(lease, sql, arguments, self.observe)
        except BaseException as error:
            broken = isinstance(error, Dropped)
            is_probe = source is self._reserve and isinstance(error, asyncio.CancelledError)
            seconds = time.perf_counter() - began  # of a probe: how long it had patience
            self.figures.add(kind, sql, seconds, may_be_slow=not is_probe)
            raise
        else:
            self.answered_at = ended = time.perf_counter()
            self.figures.add(kind, sql, ended - began)
            if is_new:
                if len(lease.sent) >= PREPARED_STATEMENTS:
                    lease.sent.clear()
                lease.sent.add(sql)
            return rows, ended - began, is_new
        finally:
            source.release(lease, broken=broken)

    async def _retry_conflicts(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await retry(
                attempt,
                on=_RETRYABLE,
                backoff=BACKOFF,
                attempts=ATTEMPTS,
                report=self._report_conflict,
            )
        except _RETRYABLE as error:
            raise Overloaded(
                "Concurrent changes of the same rows kept conflicting.",
                hint="Nothing was changed; try again in a moment.",
                retry_after_s=1,
                cause="conflicts",
            ) from error

    def _report_conflict(self, error: Exception) -> None:
        self.figures.conflicts += 1
        log.info("retrying a transaction after %s", type(error).__name__)


async def open_database(
    url: str,
    *,
    direct_url: str | None = None,
    pool_size: int = POOL_SIZE,
    wait_ms: int = WAIT_MS,
    connect_ms: int = 10_000,
    statement_timeout_ms: int = 60_000,
    lock_ms: int = 0,
) -> Database:
    """Opens the pool and one connection, so that a wrong URL fails at startup.

    `direct_url` bypasses the pooler that `url` leads through. A statement waits for a lock without
    limit if `lock_ms` is 0.
    """
    route = Route(url, direct_url, statement_timeout_ms=statement_timeout_ms, lock_ms=lock_ms)
    first = await route.open_first(asyncio.get_running_loop().time() + connect_ms / 1000)
    lend = partial(open_pool, route.connect_until, lock_ms=route.transaction_lock_ms)
    pool = lend(size=pool_size, wait_ms=wait_ms, first=first)
    reserve = lend(size=RESERVED, wait_ms=WAIT_MS)
    database = Database(pool, reserve, size=pool_size, wait_ms=wait_ms)
    database.is_pooled = route.is_pooled
    database.pulse = Pulse(database, route.connect_directly, route.log_in)
    return database
