"""A pool of psycopg's over a road, that tells at once why no connection came about.

psycopg's own keeps trying in the background and lets those who wait run into a time-out. Here each
attempt has an owner: who waits hears what failed, and where nobody waits nothing is tried.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from db.errors import HowdahError, Overloaded, Unavailable
from db.workbench.connections.circuit_breaker import Breaker
from db.workbench.connections.connection_errors import Unreachable
from db.workbench.connections.connector import Road
from db.workbench.connections.libpq import Connection, Facts

# What goes wrong is told to who waits for it; once more in the log, it would tell where users go.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

WAIT_S = 12.0


class Figures(NamedTuple):
    """How many connections there are now."""

    size: int
    idle: int
    busy: int


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


class AwakePool:
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
    ) -> "AwakePool":
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
        except asyncio.CancelledError:  # perhaps in the moment in which it was got
            await self._take_back(getting)
            raise
        except PoolTimeout:
            raise _busy() from None
        except PoolClosed:
            raise closed() from None
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
        self._fail(closed())
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


def _busy() -> Overloaded:
    return Overloaded(
        "All connections to this database are in use.",
        hint="Wait until a statement ends, or cancel one.",
        retry_after_s=1,
    )


def closed() -> Unavailable:
    return Unavailable(
        "The connection was closed.", hint="Connect again, then repeat what was asked."
    )
