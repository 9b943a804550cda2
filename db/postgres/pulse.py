"""Notices that the database stopped answering, so that reads fail instead of hanging.

Decision 0058 has the reasons.
"""

import asyncio
import logging
from typing import Protocol

import asyncpg

from db.concurrency.waiting import TaskSet, cancel_all, start_background
from db.errors import Unavailable
from db.postgres.route.pooling import Connect

log = logging.getLogger(__name__)

TICK_S = 0.5
SILENT_TICKS = 4
"""The ticks without an answer after which reads fail: within 2.5 s of their start.

Ticks are counted and not seconds, because this process may be the one that was stopped.
"""
LONGEST_PROBE_S = 10.0
"""A login may take longer than the silence after which reads fail, so it is not cut short: another
probe begins beside it."""
# The server, its host or a pooler refused: it is alive, and what waits for it fails by itself.
# InternalClientError: no host of the URL has the wanted target_session_attrs.
_ANSWERS = (
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    ConnectionError,
)


class Watched(Protocol):
    """What the pulse needs of `Database`."""

    @property
    def answered_at(self) -> float:
        """When a statement was answered last."""

    @property
    def is_busy(self) -> bool:
        """Whether a caller waits for the database."""

    def suspend(self) -> None:
        """Fails the reads that are under way, and all callers until `resume`. Repeatable."""

    def resume(self) -> None: ...


class Pulse:
    """Asks the database on a connection of its own while nothing else is answered."""

    def __init__(self, database: Watched, connect: Connect, log_in: Connect | None = None) -> None:
        """Behind a pooler, `connect` bypasses it, and `log_in` does not.

        A pooler whose connections are all in use by slow statements answers a login, and no
        statement.
        """
        self._connect = connect
        self._log_in = log_in
        self._database = database
        self._connection: asyncpg.Connection | None = None
        self._probes = TaskSet()
        self._was_answered = False
        self._answered_at = 0.0
        self._silent_ticks = 0
        self._task = start_background(self._watch(), name="database: pulse")

    @property
    def is_silent(self) -> bool:
        return self._silent_ticks >= SILENT_TICKS

    async def close(self) -> None:
        await cancel_all([self._task])
        await cancel_all(self._probes)
        if self._connection is not None:
            self._connection.terminate()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._is_alive():
                self._resume()
            else:
                self._wait_on()

    def _is_alive(self) -> bool:
        """Whether something was answered since the last tick, or nothing was asked."""
        answered_at = self._database.answered_at
        is_answered = self._was_answered or answered_at != self._answered_at
        self._answered_at, self._was_answered = answered_at, False
        return is_answered or not (self.is_silent or self._database.is_busy)

    def _resume(self) -> None:
        if self.is_silent:
            log.warning("the database answers again")
            self._database.resume()
        self._silent_ticks = 0

    def _wait_on(self) -> None:
        self._silent_ticks += 1
        if self.is_silent:
            if self._silent_ticks == SILENT_TICKS:
                log.warning(
                    "the database has not answered for %g s: requests fail until it does",
                    SILENT_TICKS * TICK_S,
                )
            self._database.suspend()
        # A connection may never answer, where a new one does: as after a failover.
        if not self._probes or self._silent_ticks % SILENT_TICKS == 0:
            self._probes.start(self._ask(), name="database: probe")

    async def _ask(self) -> None:
        connection, self._connection = self._connection, None  # a probe beside it opens its own
        try:
            async with asyncio.timeout(LONGEST_PROBE_S):
                if self._log_in is not None:
                    (await self._log_in()).terminate()
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await connection.execute("SELECT 1")
        except _ANSWERS:
            self._was_answered = True
        except OSError:
            pass  # no route to it, or no answer in time
        else:
            self._was_answered = True
            if self._connection is None:
                self._connection, connection = connection, None
        finally:
            if connection is not None:
                connection.terminate()


def silent_error() -> Unavailable:
    return Unavailable(
        "The database does not answer.",
        hint="Nothing was changed; try again in a moment.",
        retry_after_s=1,
    )
