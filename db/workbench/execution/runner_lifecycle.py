"""Opens the runner of a process together with its liveness lock and maintenance tasks."""

import contextlib
from collections.abc import AsyncIterator

from db.events import EventBus
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.runs import Liveness
from db.settings import Settings
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.maintenance import maintenance
from db.workbench.execution.run_request import RunLimits
from db.workbench.execution.runner import Runner, closing


@contextlib.asynccontextmanager
async def open_runner(
    settings: Settings,
    *,
    direct_url: str,
    database: Database,
    events: EventBus,
    objects: ObjectStore,
    workbench: Workbench,
) -> AsyncIterator[Runner]:
    """When the block ends, active runs get a third of `stop_seconds` to finish."""
    limits = RunLimits(
        max_running=settings.runs_at_once,
        max_active=settings.runs_waiting,
        timeout_ms=settings.run_timeout_ms,
        max_rows=settings.run_max_rows,
        max_bytes=settings.run_max_bytes,
        retention_days=settings.run_days,
        max_kept_bytes=settings.run_bytes_per_user,
        max_kept_runs=settings.runs_per_user,
    )
    async with Liveness.opened(direct_url) as liveness:
        runner = Runner(
            database=database,
            events=events,
            objects=objects,
            lender=workbench,
            process=liveness.process,
            limits=limits,
        )
        async with maintenance(runner), closing(runner, grace_s=settings.stop_seconds / 3):
            yield runner
