"""Shows other processes that this one is alive, by a session-level advisory lock."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator

import asyncpg

from db.errors import HowdahError, Unavailable
from db.postgres.connect import connect
from db.postgres.urls import parse_url
from db.waiting import Backoff, wait_up_to

log = logging.getLogger(__name__)

OPEN_S = 5.0
HEARTBEAT_S = 3.0
BACKOFF = Backoff(first_s=0.1, longest_s=1.0)
_HOLD = "SELECT pg_advisory_lock($1)"
_LOST = (HowdahError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Liveness:
    """Holds the lock of `process`, and acquires it again when its connection is lost."""

    def __init__(self, direct_url: str) -> None:
        self.process = secrets.randbits(62)
        self._url = parse_url(direct_url)
        self._held = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, direct_url: str) -> AsyncIterator["Liveness"]:
        """Holds the lock inside the block.

        Raises:
            Unavailable: The lock was not acquired within OPEN_S.
        """
        liveness = cls(direct_url)
        task = asyncio.create_task(liveness._hold_for_ever(), name="runs: liveness")
        try:
            await liveness._wait_until_held()
            yield liveness
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _wait_until_held(self) -> None:
        if not await wait_up_to(OPEN_S, self._held.wait()):
            raise Unavailable(
                "The liveness lock of this server was not acquired in time.",
                hint="Set HOWDAH_DIRECT_DATABASE_URL: advisory locks need a direct connection.",
            )

    async def _hold_for_ever(self) -> None:
        pauses = BACKOFF.pauses()
        while True:
            try:
                await self._hold()
            except _LOST as error:
                log.warning("the liveness lock was lost, will retry: %s", type(error).__name__)
            if self._held.is_set():
                pauses = BACKOFF.pauses()
            self._held.clear()
            await asyncio.sleep(next(pauses))

    async def _hold(self) -> None:
        """Acquires the lock and holds it until a heartbeat fails."""
        connection = await connect(self._url, application_name="howdah runs")
        try:
            await connection.execute(_HOLD, self.process)
            self._held.set()
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                await connection.execute("SELECT 1", timeout=HEARTBEAT_S)
        finally:
            connection.terminate()
