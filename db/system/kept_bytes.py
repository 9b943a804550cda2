"""How many bytes all users keep, counted now and then by one process of all replicas."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import in_background
from db.postgres.engine import Database
from db.postgres.sessions import ReadSession

log = logging.getLogger(__name__)

EVERY_S = 3_600.0
FIRST_WITHIN_S = 60.0
"""The first count comes after the start, which it must not slow down."""

Count = Callable[[ReadSession], Awaitable[int]]


class KeptBytes:
    """The latest counts by kind, of a database that all replicas share."""

    def __init__(self) -> None:
        self.by_kind: dict[str, int] = {}
        """Empty where another process counts; 0 where one has taken over."""

    async def count(self, database: Database, counts: Mapping[str, Count]) -> None:
        async with database.read() as session:
            self.by_kind = {kind: await count(session) for kind, count in counts.items()}

    def counting(
        self,
        database: Database,
        counts: Mapping[str, Count],
        *,
        is_in_charge: Callable[[], Awaitable[bool]],
    ) -> AbstractAsyncContextManager[None]:
        """Counts periodically until the block ends.

        A count reads all runs, so only the process that `is_in_charge` counts, as with sweeps.
        """
        return in_background(self._repeat(database, counts, is_in_charge), name="kept bytes")

    async def _repeat(
        self,
        database: Database,
        counts: Mapping[str, Count],
        is_in_charge: Callable[[], Awaitable[bool]],
    ) -> None:
        retry_log = RetryLog(log, "count the bytes that users keep")
        await asyncio.sleep(random.uniform(0.5, 1.0) * FIRST_WITHIN_S)  # noqa: S311 - jitter between replicas
        while True:
            with retry_log.attempt():
                if await is_in_charge():
                    await self.count(database, counts)
                else:  # the metric is the maximum of all processes
                    self.by_kind = dict.fromkeys(self.by_kind, 0)
            await asyncio.sleep(EVERY_S * random.uniform(0.5, 1.0))  # noqa: S311
