"""The connections of one owner to the database of one saved connection."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from math import inf

import psycopg

from db.concurrency.fifo_pool import FifoPool
from db.concurrency.waiting import wait_up_to
from db.errors import HowdahError, Overloaded
from db.runs import Backend
from db.workbench.connections.connection_errors import connection_closed
from db.workbench.connections.connector import Connector
from db.workbench.connections.libpq import Connection, ServerFacts
from db.workbench.connections.pools.circuit_breaker import Breaker
from db.workbench.connections.pools.reset import reset

log = logging.getLogger(__name__)

WAIT_S = 12.0
LIFETIME_S = 3_600.0
REPORT_S = 3_600.0
"""A pool reports that it is connected once in this time."""
CANCEL_S = 2.0
RETURN_S = 0.02
"""How long a reservation waits for a connection that is being reset, which takes a millisecond."""


class PooledConnection:
    __slots__ = ("connection", "expires_at", "used_at")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.used_at = asyncio.get_running_loop().time()
        self.expires_at = self.used_at + LIFETIME_S

    def is_usable(self) -> bool:
        """Notices without a query that the server has closed the connection."""
        if self.connection.closed or asyncio.get_running_loop().time() >= self.expires_at:
            return False
        try:
            self.connection.poll_input()
        except psycopg.Error:
            return False
        return True

    def terminate(self) -> None:
        self.connection.finish()

    async def close(self) -> None:
        self.terminate()


class ConnectionPool:
    """Opens connections on demand, and lends each to one borrower, free of session state.

    A failure to connect is reported at once to all callers that wait for a connection.
    """

    def __init__(
        self,
        make_connector: Callable[[], Awaitable[Connector]],
        *,
        size: int,
        breaker: Breaker,
        make_room: Callable[[], None],
        on_connected: Callable[[ServerFacts], None],
        facts: ServerFacts | None = None,
    ) -> None:
        """`make_room` raises Overloaded if the process may open no further connection.

        `on_connected` is called with the first connection, and at most every `REPORT_S` later.
        """
        self.breaker = breaker
        self.facts = facts
        self.used_at = asyncio.get_running_loop().time()
        self._make_connector = make_connector
        self._make_room = make_room
        self._on_connected = on_connected
        self._report_at = 0.0
        self._pool = FifoPool(
            self._connect,
            size=size,
            wait_s=WAIT_S,
            overloaded=_overloaded,
            closed=connection_closed,
        )
        self._connector: Connector | None = None
        self.expires_at = inf
        """When the secrets of the latest connector expire, by the clock of the event loop."""
        self._making = asyncio.Lock()
        self._closed = False
        self._proving = asyncio.Lock()
        self._proven = False
        self._failure: HowdahError | None = None
        self._failure_until = 0.0
        self._attempts = 0
        self._borrowers = 0
        self._lent: dict[Connection, PooledConnection] = {}
        self._dedicated: set[Connection] = set()
        self._monitors: set[Connection] = set()
        self._unused = asyncio.Event()
        self._resetting = 0
        self._returned = asyncio.Event()

    @property
    def figures(self) -> tuple[int, int, int]:
        """The number of connections, and how many of them are idle and busy."""
        idle, busy = self._pool.idle, self._pool.in_use
        return idle + busy, idle, busy

    @property
    def side_count(self) -> int:
        """The number of connections that are not those of the pool and stay open."""
        return len(self._dedicated) + len(self._monitors)

    @property
    def has_tunnel(self) -> bool:
        return self._connector is not None and self._connector.has_tunnel

    @property
    def open_count(self) -> int:
        """The number of connections that are open on the server, or may be at any moment."""
        return self._pool.opened + self._attempts + len(self._dedicated)

    @property
    def idle_count(self) -> int:
        return self._pool.idle

    @property
    def in_use(self) -> bool:
        return self._borrowers > 0

    async def acquire(self) -> Connection:
        self._borrowers += 1
        try:
            pooled = await self._pool.acquire()
        except BaseException:
            self._leave()
            raise
        self._lent[pooled.connection] = pooled
        return pooled.connection

    async def reserve(self, *, generation: tuple[int, ...]) -> "ReservedConnection | None":
        """Like `acquire`, for a connection that is idle, or only has to be reset."""
        pooled = self._pool.take_idle()
        if pooled is None and self._resetting:
            self._returned.clear()
            await wait_up_to(RETURN_S, self._returned.wait())
            pooled = self._pool.take_idle()
        if pooled is None:
            return None
        self._borrowers += 1
        self._lent[pooled.connection] = pooled
        return ReservedConnection(self, pooled.connection, generation=generation)

    async def release(self, connection: Connection) -> None:
        """Resets the connection, or ends it. Returns it also if the borrower is cancelled here."""
        self._resetting += 1
        try:
            await reset(connection)
        finally:
            self._resetting -= 1
            self.release_unused(connection)

    def release_unused(self, connection: Connection) -> None:
        """Returns a connection on which nothing was sent."""
        pooled = self._lent.pop(connection)
        pooled.used_at = asyncio.get_running_loop().time()
        self._pool.release(pooled)
        self._returned.set()
        self._leave()

    @contextlib.asynccontextmanager
    async def monitor(self) -> AsyncIterator[Connection]:
        """A side connection that stays open: it does not keep the pool in use, and `close` cuts it.

        A cut connection fails at its next statement.
        """
        async with await (await self._get_connector()).connect() as connection:
            self._require_open(connection)
            self._monitors.add(connection)
            try:
                yield connection
            finally:
                self._monitors.discard(connection)

    @contextlib.asynccontextmanager
    async def side_connection(self) -> AsyncIterator[Connection]:
        """A connection outside the pool, available even when the pool is exhausted."""
        self._borrowers += 1
        try:
            async with await (await self._get_connector()).connect() as connection:
                yield connection
        finally:
            self._leave()

    @contextlib.asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Connection]:
        """A connection that is held for long: it takes no place in the pool, and is not reused."""
        self._borrowers += 1
        try:
            connection = await self._open()
            self._require_open(connection)
            self._dedicated.add(connection)
            try:
                yield connection
            finally:
                self._dedicated.discard(connection)
                connection.finish()
        finally:
            self._leave()

    def drop_idle(self) -> None:
        self._pool.drop_idle()

    async def close_idle(self, unused_s: float = 0.0) -> None:
        """Closes connections unused for `unused_s`, and the tunnel if all of them were."""
        async with self._making:
            before = asyncio.get_running_loop().time() - unused_s
            self._pool.drop_idle(lambda idle: idle.used_at <= before)
            if not self.in_use and self.used_at <= before:
                await self._close_connector()

    async def close(self) -> None:
        """Cancels running statements, and closes the connections of those that continue."""
        self._closed = True
        for monitor in self._monitors:
            monitor.cut()
        await self._pool.close()
        await asyncio.gather(*map(_cancel, self._lent))
        if not await self._is_unused_within(CANCEL_S):
            for connection in (*self._lent, *self._dedicated):
                connection.cut()
            if not await self._is_unused_within(CANCEL_S):
                log.warning("%d connections were not returned", len(self._lent))
        async with self._making:
            await self._close_connector()

    async def wait_unused(self) -> None:
        """Returns when all lent connections have been returned."""
        while self.in_use:
            self._unused.clear()
            await self._unused.wait()

    def _leave(self) -> None:
        self._borrowers -= 1
        self.used_at = asyncio.get_running_loop().time()
        if not self._borrowers:
            self._unused.set()

    async def _connect(self, deadline: float) -> PooledConnection:
        """The first connection is opened alone: servers ban clients for a few wrong passwords."""
        try:
            async with asyncio.timeout_at(deadline):
                async with self._proving:
                    if not self._proven:
                        return await self._attempt(deadline)
                return await self._attempt(deadline)
        except TimeoutError:
            raise _overloaded() from None

    async def _attempt(self, deadline: float) -> PooledConnection:
        if self._failure is not None and deadline < self._failure_until:  # it waited meanwhile
            raise self._failure.with_traceback(None)
        return PooledConnection(await self._open())

    async def _open(self) -> Connection:
        connector = await self._get_connector()
        try:
            with self.breaker.attempt():
                self._make_room()
                self._attempts += 1
                try:
                    connection = await connector.connect()
                finally:
                    self._attempts -= 1
        except HowdahError as error:
            self._proven = False
            self._failure = error
            self._failure_until = asyncio.get_running_loop().time() + WAIT_S
            raise
        self._proven = True
        self._failure = None
        self._take_facts(connector.facts)
        return connection

    def _take_facts(self, facts: ServerFacts | None) -> None:
        self.facts = self.facts or facts
        now = asyncio.get_running_loop().time()
        if facts is not None and now >= self._report_at:
            self._report_at = now + REPORT_S
            self._on_connected(facts)

    def _require_open(self, connection: Connection) -> None:
        """Ends a connection that has opened after `close`, which cuts only those it knows."""
        if self._closed:
            connection.finish()
            raise connection_closed()

    async def _get_connector(self) -> Connector:
        async with self._making:
            if self._closed:
                raise connection_closed()
            if self._connector is None:
                self._connector = await self._make_connector()
                self.expires_at = self._connector.expires_at
            return self._connector

    async def _close_connector(self) -> None:
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    async def _is_unused_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait_unused()
        return not self.in_use


class ReservedConnection:
    """A connection that was idle, for a run that is not accepted yet.

    Enter it to use it, or return it with `release`.
    """

    def __init__(
        self, pool: ConnectionPool, connection: Connection, *, generation: tuple[int, ...]
    ) -> None:
        """`generation` is that of the saved connection for which the pool was opened."""
        self.generation = generation
        self.connection = connection
        self._pool = pool

    @property
    def backend(self) -> Backend | None:
        return self.connection.backend

    def release(self) -> None:
        self._pool.release_unused(self.connection)

    async def __aenter__(self) -> Connection:
        return self.connection

    async def __aexit__(self, *_: object) -> None:
        await self._pool.release(self.connection)


async def _cancel(connection: Connection) -> None:
    with contextlib.suppress(psycopg.Error):
        await connection.cancel_safe(timeout=CANCEL_S)


def _overloaded() -> Overloaded:
    return Overloaded(
        "All connections to this database are in use.",
        hint="Wait until a statement ends, or cancel one.",
        retry_after_s=1,
        cause="target_pool",
    )
