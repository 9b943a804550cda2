"""The one door to our own database, and the only place that commits."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from db.dial import DROPPED, dial, explained, patiently
from db.leases import Lease, Lender, Pool, PooledLease, leased
from db.statements import Statement, compile_statement
from db.urls import DatabaseUrl, parse_url

T = TypeVar("T")
log = logging.getLogger(__name__)

ATTEMPTS = 5
RESERVED = 2
_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_PING = compile_statement(text("SELECT 1"))


class Observer(Protocol):
    """Is told of every statement before it runs: the tests' statement counter, traces."""

    def __call__(self, sql: str, /) -> None: ...


class Session:
    """Runs statements on one lease. Lives for one batch of reads or one transaction."""

    __slots__ = ("_lease", "_observe")

    def __init__(self, lease: Lease, observe: Observer | None) -> None:
        self._lease = lease
        self._observe = observe

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Any]:
        """Plain rows, in the order of the statement's columns."""
        return statement.decode(await self._fetch(statement.sql, statement.arguments(values)))

    async def row(self, statement: Statement, **values: Any) -> Any | None:
        found = await self.rows(statement, **values)
        return found[0] if found else None

    async def value(self, statement: Statement, **values: Any) -> Any:
        """The first column of the first row, or None."""
        found = await self.row(statement, **values)
        return None if found is None else found[0]

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        if self._observe is not None:
            self._observe(sql)
        records: Sequence[Any] = await self._lease.driver.fetch(sql, *arguments)
        return records


class ReadSession(Session):
    """Single statements, each a transaction of its own; retried once when the connection drops."""

    __slots__ = ("_lender", "_url")

    def __init__(
        self, lease: Lease, observe: Observer | None, lender: Lender, url: DatabaseUrl
    ) -> None:
        super().__init__(lease, observe)
        self._lender = lender
        self._url = url

    async def release(self) -> None:
        await self._lender.release(self._lease)

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        try:
            return await self._once(sql, arguments)
        except DROPPED as error:
            log.warning("a connection to the database dropped; reading again: %r", error)
        await self._lender.release(self._lease, broken=True)
        self._lease = await self._lender.acquire()
        try:
            return await self._once(sql, arguments)
        except DROPPED as error:
            raise explained(error, self._url) from error

    async def _once(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        if self._lease.autocommit:
            return await super()._fetch(sql, arguments)
        async with self._lease.begin():
            return await super()._fetch(sql, arguments)


class Database:
    """Lends sessions: `read()` for reads, `transaction(work)` and `write(work)` for changes."""

    def __init__(
        self, engine: AsyncEngine, url: DatabaseUrl, lender: Lender, reserve: Lender
    ) -> None:
        self.engine = engine
        self.url = url
        self._lender = lender
        self._reserve = reserve
        self.observe: Observer | None = None

    @contextlib.asynccontextmanager
    async def read(self, *, reserved: bool = False) -> AsyncIterator[Session]:
        """For one batch of reads. `reserved` is for what must answer when the pool is exhausted."""
        lender = self._reserve if reserved else self._lender
        session = ReadSession(await lender.acquire(), self.observe, lender, self.url)
        try:
            yield session
        finally:
            await session.release()

    async def transaction(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """All of `work` or nothing; run again when PostgreSQL asks for that.

        `work` may therefore run several times: what it does outside the database it does after.
        A connection that drops is not tried again, because the commit may have happened.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._transaction(work)
            except _AGAIN as error:
                log.info("a transaction met another and runs again: %s", type(error).__name__)
        return await self._transaction(work)

    async def write(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Like `transaction`, for work that changes rows by one statement: no BEGIN, no COMMIT.

        Each statement is a transaction of its own; reads may go before or after the one change.
        """
        async with leased(self._lender) as lease:
            if not lease.autocommit:
                return await self._in_transaction(lease, work)
            with self._explaining():
                return await work(Session(lease, self.observe))

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.read(reserved=True) as session:
            await session.value(_PING)

    async def close(self) -> None:
        await self._lender.close()
        await self._reserve.close()
        await self.engine.dispose()

    async def _transaction(self, work: Callable[[Session], Awaitable[T]]) -> T:
        async with leased(self._lender) as lease:
            return await self._in_transaction(lease, work)

    async def _in_transaction(self, lease: Lease, work: Callable[[Session], Awaitable[T]]) -> T:
        with self._explaining():
            async with lease.begin():
                return await work(Session(lease, self.observe))

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except DROPPED as error:
            raise explained(error, self.url) from error


def create_engine(url: DatabaseUrl) -> AsyncEngine:
    """The engine makes connections, ours or alembic's; `Pool` keeps them."""

    async def connect(*_: Any, **__: Any) -> asyncpg.Connection:
        return await dial(url)

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)


async def open_database(
    url: str, *, pool_size: int = 32, wait_ms: int = 3_000, connect_ms: int = 10_000
) -> Database:
    """Connects once, so that a wrong URL is told at the start; waits while it may help."""
    target = parse_url(url)
    engine = create_engine(target)

    async def one() -> PooledLease:
        connection = await engine.connect()
        driver = (await connection.get_raw_connection()).driver_connection
        return PooledLease(connection, driver, autocommit=not target.pooled)

    async def another() -> PooledLease:
        return await patiently(one, target, within_ms=wait_ms)

    first = await patiently(one, target, within_ms=connect_ms)
    pool = Pool(another, size=pool_size, wait_ms=wait_ms, first=first)
    reserve = Pool(another, size=RESERVED, wait_ms=wait_ms)
    return Database(engine, target, pool, reserve)
