"""What goes on beside the runs: cancels from elsewhere, and orphans of dead processes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from db.errors import HowdahError
from db.events import Event, Subscription
from db.runs import (
    CANCELLED,
    INTERRUPTED,
    TERMINAL,
    OrphanRow,
    interrupt,
    miss,
    watched,
)
from db.runs.orphans import MISSED_FOR
from db.workbench.execution.runner import CANCELS, Runner

log = logging.getLogger(__name__)

WATCH_S = 1.0
RESCUE_S = 4.0
END_WITHIN_S = 12.0


@contextlib.asynccontextmanager
async def kept_up(
    runner: Runner, *, rescue_s: float = RESCUE_S, missed_for: timedelta = MISSED_FOR
) -> AsyncIterator[None]:
    """Looks after the runs of this process, and after those of processes that are gone."""
    rescue = Rescue(runner, missed_for=missed_for)
    tasks = [
        asyncio.create_task(_watch_for_ever(runner), name="runs: watch"),
        asyncio.create_task(_repeat(rescue_s, rescue.run), name="runs: rescue"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Rescue:
    """Interrupts the runs of processes that are gone, and ends what they left running."""

    def __init__(self, runner: Runner, *, missed_for: timedelta = MISSED_FOR) -> None:
        self._runner = runner
        self._missed_for = missed_for

    async def run(self) -> None:
        runner = self._runner
        await runner.database.write(miss)
        orphans = await runner.database.write(
            lambda session: interrupt(session, keep=runner.keep, missed_for=self._missed_for)
        )
        await asyncio.gather(*(self._rescue(orphan) for orphan in orphans))

    async def _rescue(self, orphan: OrphanRow) -> None:
        from db.workbench.execution.execution import end_backend

        log.warning("run %s was left behind by a process that is gone", orphan.id)
        await self._runner.announce(orphan.owner_id, orphan.id)
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await end_backend(self._runner.lender, orphan)
        except (HowdahError, TimeoutError) as error:
            log.warning("its statement could not be ended: %s", error)


async def _watch_for_ever(runner: Runner) -> None:
    async with runner.events.subscribe(CANCELS) as cancels:
        while True:
            told = await _next(cancels)
            try:
                await _watch(runner, told)
            except Exception:  # the next round may find the database back
                log.exception("the runs of this server could not be watched")


async def _next(cancels: Subscription) -> Event | None:
    try:
        async with asyncio.timeout(WATCH_S):
            return await anext(cancels)
    except TimeoutError:
        return None


async def _watch(runner: Runner, told: Event | None) -> None:
    """Hears what the database says about the runs of this process: an event only wakes it."""
    if told is not None and not told.missed and UUID(hex=told.payload) not in runner.running:
        return
    if not runner.running:
        return
    asked = dict(runner.running)
    async with runner.database.read(reserved=True) as session:
        found = await watched(session, list(asked))
    states = {run_id: (state, wanted) for run_id, state, wanted in found}
    for run_id, execution in asked.items():
        state, wanted = states.get(run_id, (INTERRUPTED, False))
        if wanted:
            execution.stop(CANCELLED)
        elif state in TERMINAL:
            execution.stop(INTERRUPTED)


async def _repeat(every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:  # the next round may find the database back
            log.exception("the upkeep of runs is tried again")
