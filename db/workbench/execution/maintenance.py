"""Background tasks of a runner: cancels from other replicas, and orphans of dead processes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from db.errors import HowdahError
from db.events import Event
from db.runs import (
    ACTIVE,
    OrphanRow,
    RunState,
    cancel_states,
    interrupt_orphans,
    mark_missing_processes,
)
from db.runs.unscoped.orphans import ORPHAN_GRACE
from db.workbench.execution.live_status import publish_change
from db.workbench.execution.runner import CANCEL_TOPIC, Runner

log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0
CLEANUP_INTERVAL_S = 4.0
END_BACKEND_S = 12.0


@contextlib.asynccontextmanager
async def maintenance(
    runner: Runner,
    *,
    cleanup_interval_s: float = CLEANUP_INTERVAL_S,
    grace: timedelta = ORPHAN_GRACE,
) -> AsyncIterator[None]:
    """Runs the background tasks while the block runs."""
    cleanup = OrphanCleanup(runner, grace=grace)
    tasks = [
        asyncio.create_task(_watch_for_ever(runner), name="runs: watch"),
        asyncio.create_task(_repeat(cleanup_interval_s, cleanup.run), name="runs: cleanup"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class OrphanCleanup:
    """Interrupts the runs of dead processes, and terminates the backends that still run them."""

    def __init__(self, runner: Runner, *, grace: timedelta = ORPHAN_GRACE) -> None:
        self._runner = runner
        self._grace = grace

    async def run(self) -> None:
        runner = self._runner
        await runner.database.write(mark_missing_processes)
        keep, grace = runner.limits.retention, self._grace
        orphans = await runner.database.write(
            lambda session: interrupt_orphans(session, keep=keep, grace=grace)
        )
        await asyncio.gather(*(self._clean_up(orphan) for orphan in orphans))

    async def _clean_up(self, orphan: OrphanRow) -> None:
        from db.workbench.execution.statement_run import end_backend

        log.warning("run %s was orphaned by a process that stopped", orphan.id)
        await publish_change(self._runner.events, orphan.owner_id, orphan.id)
        try:
            async with asyncio.timeout(END_BACKEND_S):
                await end_backend(self._runner.lender, orphan)
        except (HowdahError, TimeoutError) as error:
            log.warning("the backend of orphaned run %s was not terminated: %s", orphan.id, error)


async def _watch_for_ever(runner: Runner) -> None:
    async with runner.events.subscribe(CANCEL_TOPIC) as cancels:
        while not cancels.has_ended:
            event = await cancels.next_within(WATCH_INTERVAL_S)
            try:
                await _watch(runner, event)
            except Exception:  # any error: the next round may succeed
                log.exception("cannot check the active runs for cancel requests, will retry")


async def _watch(runner: Runner, event: Event | None) -> None:
    """Stops local runs that were cancelled or finished elsewhere, as read from the database."""
    running = dict(runner.executor.running)
    if event is not None and not event.missed and UUID(hex=event.payload) not in running:
        return
    if not running:
        return
    async with runner.database.read(reserved=True) as session:
        found = await cancel_states(session, list(running))
    states = {run_id: (state, wanted) for run_id, state, wanted in found}
    for run_id, execution in running.items():
        state, wanted = states.get(run_id, (RunState.INTERRUPTED, False))
        if wanted:
            execution.stop(RunState.CANCELLED)
        elif state not in ACTIVE:
            execution.stop(RunState.INTERRUPTED)


async def _repeat(every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:  # any error: the next round may succeed
            log.exception("the cleanup of orphaned runs failed, will retry")
