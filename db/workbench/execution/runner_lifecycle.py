"""Opens the runner of a process together with its background task."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import in_background
from db.events import EventBus
from db.postgres.engine import Database
from db.replicas import Heartbeat
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.request.run_request import RunLimits
from db.workbench.execution.run_executor import AfterRun, RunOpeners
from db.workbench.execution.runner import CANCEL_TOPIC, Runner, closing
from db.workbench.results.result_store import ResultStore

log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0


@contextlib.asynccontextmanager
async def open_runner(  # noqa: PLR0913 - the services of a runner
    database: Database,
    events: EventBus,
    results: ResultStore,
    workbench: Workbench,
    heartbeat: Heartbeat,
    *,
    openers: RunOpeners,
    limits: RunLimits,
    grace: Callable[[], float],
    after_run: AfterRun | None = None,
) -> AsyncIterator[Runner]:
    """When the block ends, active runs get as many seconds to finish as `grace` returns then."""
    runner = Runner(
        database=database,
        events=events,
        results=results,
        lender=workbench,
        heartbeat=heartbeat,
        openers=openers,
        limits=limits,
        after_run=after_run,
    )
    async with watching_cancels(runner, events), closing(runner, grace=grace):
        yield runner


def watching_cancels(
    runner: Runner, events: EventBus
) -> contextlib.AbstractAsyncContextManager[None]:
    """Stops the runs of the runner that other replicas cancel or end, within the block."""
    return in_background(_watch_cancels(runner, events), name="runs: watch")


async def _watch_cancels(runner: Runner, events: EventBus) -> None:
    retry_log = RetryLog(log, "check the active runs for cancel requests")
    async with events.subscribe(CANCEL_TOPIC) as cancels:
        while not cancels.has_ended:
            event = await cancels.next_within(WATCH_INTERVAL_S)
            with retry_log.attempt():
                await runner.stop_ended_elsewhere(event and event.subject)
