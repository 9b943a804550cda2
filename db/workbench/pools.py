"""Pools of connections to the users' databases: one for each owner and saved connection."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from db.errors import HowdahError, Overloaded, Unavailable
from db.workbench.breaker import Breaker
from db.workbench.failures import Unreachable
from db.workbench.libpq import Connection, Facts, cut, cut_after
from db.workbench.road import Road

log = logging.getLogger(__name__)
# What goes wrong is told to who waits for it; once more in the log, it would tell where users go.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

WAIT_S = 12.0
RESET_S = 2.0
CANCEL_S = 2.0


class Figures(NamedTuple):
    """How many connections there are now."""

    size: int
    idle: int
    busy: int


class Pool:
    """Opens connections when asked; lends each to one borrower, and nothing of one to the next.

    Asleep it holds no connection, tunnel or file; it wakes when somebody borrows.
    """

    def __init__(
        self,
        lay: Callable[[], Awaitable[Road]],
        *,
        size: int,
        breaker: Breaker,
        make_room: Callable[[], None],
        facts: Facts | None = None,
    ) -> None:
        """`lay` makes the road; `make_room` raises when no more connections may be opened."""
        self.breaker = breaker
        self.facts = facts
        self.used_at = asyncio.get_running_loop().time()
        self._lay = lay
        self._size = size
        self._make_room = make_room
        self._awake: _Awake | None = None
        self._closed = False
        self._turning = asyncio.Lock()
        self._borrowers = 0
        self._lent: set[Connection] = set()
        self._all_back = asyncio.Event()

    @property
    def figures(self) -> Figures:
        return self._awake.figures if self._awake else Figures(0, 0, 0)

    @property
    def is_awake(self) -> bool:
        return self._awake is not None

    @property
    def in_use(self) -> bool:
        return self._borrowers > 0

    async def acquire(self) -> Connection:
        self._borrowers += 1
        try:
            awake = await self._wake()
            connection = await awake.borrow()
        except BaseException:
            self._leave()
            raise
        self._lent.add(connection)
        self.facts = self.facts or awake.facts
        return connection

    async def release(self, connection: Connection) -> None:
        """Clean, or not at all. Back it goes even when the borrower is cancelled here."""
        try:
            await _clean(connection)
        finally:
            self._lent.discard(connection)
            if self._awake is None:
                connection.pgconn.finish()
            else:
                await self._awake.give_back(connection)
            self._leave()

    @contextlib.asynccontextmanager
    async def spare(self) -> AsyncIterator[Connection]:
        """One beside the pool, for a moment: to end a statement when all others are lent."""
        self._borrowers += 1
        try:
            async with await (await self._wake()).reach() as connection:
                yield connection
        finally:
            self._leave()

    async def sleep(self) -> None:
        """Close what is open, unless somebody uses it."""
        async with self._turning:
            if not self.in_use:
                await self._close_awake()

    async def close(self) -> None:
        """For good. What is running ends first: asked to, and a moment later made to."""
        self._closed = True
        if self._awake is not None:
            self._awake.call_off()
        await self._end_statements()
        async with self._turning:
            await self._close_awake()

    async def all_back(self) -> None:
        """Return when nothing is lent any more."""
        while self.in_use:
            self._all_back.clear()
            await self._all_back.wait()

    def _leave(self) -> None:
        self._borrowers -= 1
        self.used_at = asyncio.get_running_loop().time()
        if not self._borrowers:
            self._all_back.set()

    async def _wake(self) -> "_Awake":
        async with self._turning:
            if self._closed:
                raise _closed()
            if self._awake is None:
                self._awake = await _Awake.open(
                    await self._lay(),
                    size=self._size,
                    breaker=self.breaker,
                    make_room=self._make_room,
                )
            return self._awake

    async def _close_awake(self) -> None:
        awake, self._awake = self._awake, None
        if awake is not None:
            await awake.close()

    async def _end_statements(self) -> None:
        await asyncio.gather(*map(_cancel, self._lent))
        if await self._back_within(CANCEL_S):
            return
        for connection in self._lent:
            cut(connection)
        if not await self._back_within(CANCEL_S):
            log.warning("%d connections did not come back", len(self._lent))

    async def _back_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.all_back()
        return not self.in_use


class _Dialled(psycopg.AsyncConnection[tuple[Any, ...]]):
    """Lets psycopg's pool connect by our road."""

    @classmethod
    async def connect(cls, *_: Any, **kwargs: Any) -> Self:
        dialled: Self = await kwargs["dial"]()
        return dialled


class _Unwanted(Exception):
    """Nobody waits for another connection."""


class _Round:
    """Those who wait for the next attempt to connect, and what they are told if it fails."""

    def __init__(self) -> None:
        self.waiting = 0
        self.failure: asyncio.Future[HowdahError] = asyncio.get_running_loop().create_future()


class _Awake:
    """A pool of psycopg's over a road. What fails is told at once to those who wait."""

    def __init__(
        self, road: Road, *, size: int, breaker: Breaker, make_room: Callable[[], None]
    ) -> None:
        self._road = road
        self._breaker = breaker
        self._make_room = make_room
        self._round = _Round()
        self._dialling: asyncio.Task[Connection] | None = None
        self._pool = AsyncConnectionPool(
            kwargs={"dial": self._dial},
            connection_class=_Dialled,
            min_size=0,
            max_size=size,
            open=False,
            check=_check,
            reconnect_timeout=0,
            num_workers=1,
        )

    @classmethod
    async def open(
        cls, road: Road, *, size: int, breaker: Breaker, make_room: Callable[[], None]
    ) -> "_Awake":
        awake = cls(road, size=size, breaker=breaker, make_room=make_room)
        await awake._pool.open()
        return awake

    @property
    def figures(self) -> Figures:
        stats = self._pool.get_stats()
        size, idle = stats["pool_size"], stats["pool_available"]
        return Figures(size, idle, size - idle)

    @property
    def facts(self) -> Facts | None:
        return self._road.facts

    async def borrow(self) -> Connection:
        waiting_in = self._round
        waiting_in.waiting += 1
        getting = asyncio.create_task(self._pool.getconn(WAIT_S))
        either: set[asyncio.Future[Any]] = {getting, waiting_in.failure}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                raise waiting_in.failure.result().with_traceback(None)
            return getting.result()
        except PoolTimeout:
            raise _busy() from None
        except PoolClosed:
            raise _closed() from None
        finally:
            waiting_in.waiting -= 1
            if not getting.done():
                await self._take_back(getting)

    async def reach(self) -> Connection:
        return await self._road.connect()

    async def give_back(self, connection: Connection) -> None:
        await self._pool.putconn(connection)  # type: ignore[arg-type]  # the pool made it, by `_dial`

    def call_off(self) -> None:
        """Nobody is waited for any more."""
        self._fail(_closed())
        if self._dialling is not None:
            self._dialling.cancel()

    async def close(self) -> None:
        self.call_off()
        try:
            await self._pool.close()
        finally:
            await self._road.close()

    async def _take_back(self, getting: "asyncio.Task[_Dialled]") -> None:
        getting.cancel()
        (outcome,) = await asyncio.gather(getting, return_exceptions=True)
        if isinstance(outcome, psycopg.AsyncConnection):
            await self.give_back(outcome)

    async def _dial(self) -> Connection:
        if not self._round.waiting:
            raise _Unwanted  # psycopg's pool tries twice, and replaces what is lost: not here
        try:
            self._breaker.check()
            self._make_room()
            self._dialling = asyncio.create_task(self._reach())
            return await self._dialling
        except HowdahError as error:
            self._fail(error)
            raise

    async def _reach(self) -> Connection:
        try:
            connection = await self._road.connect()
        except Unreachable as error:
            self._breaker.failed(error)
            raise
        except HowdahError:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return connection

    def _fail(self, error: HowdahError) -> None:
        failed, self._round = self._round, _Round()
        failed.failure.set_result(error)


async def _check(connection: Connection) -> None:
    """Before it is lent: a server that has hung up is noticed without asking it.

    First comes what it said in parting, then the end.
    """
    connection.pgconn.consume_input()
    connection.pgconn.consume_input()


async def _clean(connection: Connection) -> None:
    """Nothing stays: transaction, settings, roles, temporary tables, locks, listening."""
    try:
        with cut_after(connection, RESET_S):
            match connection.pgconn.transaction_status:
                case TransactionStatus.UNKNOWN:
                    return
                case TransactionStatus.ACTIVE:
                    connection.pgconn.finish()
                    return
                case TransactionStatus.INTRANS | TransactionStatus.INERROR:
                    await connection.rollback()
            await connection.set_autocommit(True)
            await connection.execute("DISCARD ALL")
    except BaseException as error:
        connection.pgconn.finish()
        if not isinstance(error, psycopg.Error):
            raise


async def _cancel(connection: Connection) -> None:
    """Ask the server to; at most for a moment."""
    with contextlib.suppress(psycopg.Error):
        await connection.cancel_safe(timeout=CANCEL_S)


def _busy() -> Overloaded:
    return Overloaded(
        "All connections to this database are in use.",
        hint="Wait until a statement ends, or cancel one.",
        retry_after_s=1,
    )


def _closed() -> Unavailable:
    return Unavailable(
        "The connection was closed.", hint="Connect again, then repeat what was asked."
    )
