"""Background tasks of a runner: cancels from other replicas, and orphans of dead processes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from db.errors import HowdahError
from db.events import EventBus
from db.postgres.engine import Database
from db.runs import OrphanRow, interrupt_orphans, mark_missing_processes
from db.runs.unscoped.orphans import ORPHAN_GRACE
from db.waiting import cancel_all
from db.workbench.execution.live_status import publish_change
from db.workbench.execution.runner import CANCEL_TOPIC, Runner

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.execution.statement.lender import Lender

log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0
CLEANUP_INTERVAL_S = 4.0
END_BACKEND_S = 12.0


@contextlib.asynccontextmanager
async def maintenance(
    runner: Runner,
    events: EventBus,
    cleanup: "OrphanCleanup",
    *,
    cleanup_interval_s: float = CLEANUP_INTERVAL_S,
) -> AsyncIterator[None]:
    """Runs the background tasks while the block runs."""
    tasks = [
        asyncio.create_task(_watch_for_ever(runner, events), name="runs: watch"),
        asyncio.create_task(_repeat(cleanup_interval_s, cleanup.run), name="runs: cleanup"),
    ]
    try:
        yield
    finally:
        await cancel_all(tasks)


class OrphanCleanup:
    """Interrupts the runs of dead processes, and terminates the backends that still run them."""

    def __init__(
        self,
        database: Database,
        events: EventBus,
        lender: "Lender",
        *,
        keep: timedelta,
        grace: timedelta = ORPHAN_GRACE,
    ) -> None:
        """Interrupted runs expire after `keep`."""
        self._database = database
        self._events = events
        self._lender = lender
        self._keep = keep
        self._grace = grace

    async def run(self) -> None:
        await self._database.write(mark_missing_processes)
        orphans = await self._database.write(
            lambda session: interrupt_orphans(session, keep=self._keep, grace=self._grace)
        )
        await asyncio.gather(*(self._clean_up(orphan) for orphan in orphans))

    async def _clean_up(self, orphan: OrphanRow) -> None:
        from db.workbench.execution.statement.lender import end_backend

        log.warning("run %s was orphaned by a process that stopped", orphan.id)
        await publish_change(self._events, orphan.owner_id, orphan.id)
        try:
            async with asyncio.timeout(END_BACKEND_S):
                await end_backend(self._lender, orphan)
        except (HowdahError, TimeoutError) as error:
            log.warning("the backend of orphaned run %s was not terminated: %s", orphan.id, error)


async def _watch_for_ever(runner: Runner, events: EventBus) -> None:
    async with events.subscribe(CANCEL_TOPIC) as cancels:
        while not cancels.has_ended:
            event = await cancels.next_within(WATCH_INTERVAL_S)
            try:
                run_id = None if event is None or event.missed else UUID(hex=event.payload)
                await runner.stop_ended_elsewhere(run_id)
            except Exception:  # any error: the next round may succeed
                log.exception("cannot check the active runs for cancel requests, will retry")


async def _repeat(every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:  # any error: the next round may succeed
            log.exception("the cleanup of orphaned runs failed, will retry")
