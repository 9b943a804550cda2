"""Opens the runner of a process together with its background task."""

import contextlib
from collections.abc import AsyncIterator

from db.events import EventBus
from db.postgres.engine import Database
from db.replicas import Heartbeat
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.maintenance import maintenance
from db.workbench.execution.request.run_request import RunLimits
from db.workbench.execution.run_executor import AfterRun, RunOpeners
from db.workbench.execution.runner import Runner, closing
from db.workbench.results.result_store import ResultStore


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
    grace_s: float,
    after_run: AfterRun | None = None,
) -> AsyncIterator[Runner]:
    """When the block ends, active runs get `grace_s` to finish."""
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
    async with maintenance(runner, events), closing(runner, grace_s=grace_s):
        yield runner
