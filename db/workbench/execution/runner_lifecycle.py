"""Opens the runner of a process together with its liveness lock and maintenance tasks."""

import contextlib
from collections.abc import AsyncIterator

from db.events import EventBus
from db.postgres.engine import Database
from db.runs import Liveness
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.maintenance import OrphanCleanup, maintenance
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
    direct_url: str,
    *,
    openers: RunOpeners,
    limits: RunLimits,
    grace_s: float,
    after_run: AfterRun | None = None,
) -> AsyncIterator[Runner]:
    """When the block ends, active runs get `grace_s` to finish."""
    cleanup = OrphanCleanup(database, events, workbench, keep=limits.retention)
    async with Liveness.opened(direct_url) as liveness:
        runner = Runner(
            database=database,
            events=events,
            results=results,
            lender=workbench,
            process=liveness.process,
            openers=openers,
            limits=limits,
            after_run=after_run,
        )
        async with maintenance(runner, events, cleanup), closing(runner, grace_s=grace_s):
            yield runner
