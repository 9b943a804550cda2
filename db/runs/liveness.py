"""Proves to the other processes that this one lives: it holds a lock as long as its session."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator

import asyncpg

from db.errors import HowdahError, Unavailable
from db.postgres.connect import connect
from db.postgres.urls import parse_url

log = logging.getLogger(__name__)

OPEN_S = 5.0
BEAT_S = 3.0
RETRY_S = 0.3
_HOLD = "SELECT pg_advisory_lock($1)"


class Liveness:
    """A lock under this process's number, taken again whenever its connection is lost."""

    def __init__(self, direct_url: str) -> None:
        self.process = secrets.randbits(62)
        self._url = parse_url(direct_url)
        self._held = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, direct_url: str) -> AsyncIterator["Liveness"]:
        """Holds the lock while the block runs."""
        liveness = cls(direct_url)
        task = asyncio.create_task(liveness._hold_for_ever(), name="runs: liveness")
        try:
            await liveness._until_held()
            yield liveness
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def is_held(self) -> bool:
        return self._held.is_set()

    async def _until_held(self) -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                await self._held.wait()
        except TimeoutError as error:
            raise Unavailable(
                "The database did not let this server register its runs.",
                hint="Locks need a direct connection: set HOWDAH_DIRECT_DATABASE_URL.",
            ) from error

    async def _hold_for_ever(self) -> None:
        while True:
            try:
                await self._hold()
            except (HowdahError, OSError, TimeoutError, asyncpg.PostgresError) as error:
                log.warning("the lock of this server's runs was lost: %s", type(error).__name__)
            except asyncpg.InterfaceError as error:
                log.warning("the lock of this server's runs was lost: %s", type(error).__name__)
            self._held.clear()
            await asyncio.sleep(RETRY_S)

    async def _hold(self) -> None:
        """Until the connection fails, which a beat notices that gets no answer."""
        connection = await connect(self._url, application_name="howdah runs")
        try:
            await connection.execute(_HOLD, self.process)
            self._held.set()
            while True:
                await asyncio.sleep(BEAT_S)
                await connection.execute("SELECT 1", timeout=BEAT_S)
        finally:
            connection.terminate()
