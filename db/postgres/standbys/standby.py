"""A standby: its pool, and what is known about its position."""

import asyncio
import logging
from dataclasses import replace
from functools import partial

import asyncpg

from db.concurrency.waiting import TaskSet, cancel_all, start_background
from db.errors import Unavailable
from db.postgres.engine import RESERVED, Database
from db.postgres.leases import open_pool
from db.postgres.monitoring.figures import DatabaseFigures
from db.postgres.own_cluster import STARTED, SYSTEM
from db.postgres.route.connect import connect
from db.postgres.route.pooling import is_direct
from db.postgres.route.urls import DatabaseUrl
from db.postgres.standbys.figures import Reason
from db.postgres.standbys.positions import OF_STANDBY
from db.postgres.standbys.shared_question import SharedQuestion

log = logging.getLogger(__name__)

POLL_S = 0.1
RETRY_S = 1.0
"""After a failure: a server that refuses logs each attempt of each process."""
ANSWER_S = 1.0
"""A standby that does not answer a poll for this long is lost: its reads go to the primary."""
CONNECT_S = 5.0
WAIT_MS = 1_000
"""A read waits this long for a connection; then it goes to the primary."""

POLL = """SELECT pg_catalog.pg_is_in_recovery(),
    coalesce((pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8, 0)"""
_IS_SAME_START = f"SELECT ({STARTED}) = $1"
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_WORDS = {
    Reason.UNREACHABLE: "it does not answer",
    Reason.NOT_STANDBY: "it accepts changes, so it is not a standby",
    Reason.OTHER_CLUSTER: "it has another system identifier than the primary",
    Reason.POOLED: "a pooler is in between",
}


class StandbyError(Exception):
    """The server cannot be read from."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(_WORDS[reason])
        self.reason = reason


class StandbyLife:
    """A standby, from one connection to it until that is lost, with a pool of its own.

    Replay moves forward only, as long as the server runs. A server that was restarted may have
    replayed less, and another server may have taken its address: what waits for a connection of
    this pool never gets one to that server.
    """

    def __init__(
        self, url: DatabaseUrl, started: str, *, pool_size: int, figures: DatabaseFigures
    ) -> None:
        self._url = url
        self._started = started
        lend = partial(open_pool, self._connect, wait_ms=WAIT_MS, overload_cause=None)
        self.database = Database(
            lend(size=pool_size), lend(size=RESERVED), size=pool_size, wait_ms=WAIT_MS
        )
        self.database.figures.report_slow_to(figures)
        self.replayed = 0
        """The standby has at least this position."""
        self.position = SharedQuestion(self._ask_position)

    @property
    def is_busy(self) -> bool:
        database = self.database
        return database.in_use >= database.size and database.waiting > 0

    async def end(self) -> None:
        """Fails the reads that are under way, and later ones."""
        self.database.suspend()
        await self.database.close()

    async def _ask_position(self) -> int:
        position: int = await self.database.read(reserved=True).value(OF_STANDBY)
        return position

    async def _connect(self, deadline: float) -> asyncpg.Connection:
        async with asyncio.timeout_at(deadline):
            connection = await connect(self._url)
            is_same = False
            try:
                is_same = await connection.fetchval(_IS_SAME_START, self._started)
            finally:
                if not is_same:
                    connection.terminate()
        if not is_same:
            raise Unavailable(
                "The URL of the standby leads to several servers, or it was restarted.",
                hint="Give each standby a URL of its own.",
            )
        return connection


class Standby:
    """Keeps asking a standby for its position, on a connection of its own."""

    def __init__(
        self,
        number: int,
        url: DatabaseUrl,
        system: str,
        *,
        pool_size: int,
        figures: DatabaseFigures,
    ) -> None:
        """`system` is the system identifier of the primary, and `figures` are its figures."""
        self.number = number
        self.life: StandbyLife | None = None
        """None while it cannot be read from."""
        self.reason = Reason.UNREACHABLE
        """Why there is no life."""
        self._url = replace(url, pooled=False)
        self._system = system
        self._pool_size = pool_size
        self._figures = figures
        self._connection: asyncpg.Connection | None = None
        self._ends = TaskSet()
        self._is_reported = False
        self._task = start_background(self._watch(), name=f"standby {number}")

    @property
    def fault(self) -> str:
        return "it is too far behind" if self.life else _WORDS[self.reason]

    async def close(self) -> None:
        await cancel_all([self._task])
        self._lose()
        await asyncio.gather(*self._ends)

    async def _watch(self) -> None:
        while True:
            try:
                await self._poll()
            except StandbyError as error:
                self._miss(error.reason, error)
            except FAILURES as error:
                self._miss(Reason.UNREACHABLE, error)
            await asyncio.sleep(RETRY_S if self.life is None else POLL_S)

    async def _poll(self) -> None:
        if self._connection is None:
            async with asyncio.timeout(CONNECT_S):
                await self._open()
            return
        async with asyncio.timeout(ANSWER_S):
            replayed = await _replayed(self._connection)
        if self.life is not None:
            self.life.replayed = replayed

    async def _open(self) -> None:
        connection = await connect(self._url, application_name="howdah standby")
        try:
            await check_standby(connection, self._system)
            started = await connection.fetchval(STARTED)
            replayed = await _replayed(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self.life = StandbyLife(
            self._url, started, pool_size=self._pool_size, figures=self._figures
        )
        self.life.replayed = replayed
        self._is_reported = False
        log.info("standby %d answers: queries read there", self.number)

    def _miss(self, reason: Reason, error: Exception) -> None:
        self._lose()
        if not self._is_reported or reason is not self.reason:
            self._is_reported = True
            log.warning(
                "standby %d is passed over: %s (%s)",
                *(self.number, _WORDS[reason], type(error).__name__),
            )
        self.reason = reason

    def _lose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        life, self.life = self.life, None
        if life is not None:
            self._ends.start(life.end(), name=f"standby {self.number}: end")


async def check_standby(connection: asyncpg.Connection, system: str) -> None:
    """`system` is the system identifier of the primary.

    Raises:
        StandbyError: the connection does not lead to a standby of it alone.
    """
    if not await is_direct(connection):
        raise StandbyError(Reason.POOLED)
    if await connection.fetchval(SYSTEM) != system:
        raise StandbyError(Reason.OTHER_CLUSTER)
    await _replayed(connection)


async def _replayed(connection: asyncpg.Connection) -> int:
    in_recovery, replayed = await connection.fetchrow(POLL) or (False, 0)
    if not in_recovery:
        raise StandbyError(Reason.NOT_STANDBY)
    return int(replayed)
