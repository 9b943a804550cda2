"""Opens the runner of a process, with all that looks after its runs."""

import contextlib
from collections.abc import AsyncIterator

from db.events import EventBus
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.runs import Liveness
from db.settings import Settings
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.maintenance import kept_up
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
    """Until the block ends; then runs get a third of the time that stopping may take."""
    limits = RunLimits(
        at_once=settings.runs_at_once,
        waiting=settings.runs_waiting,
        timeout_ms=settings.run_timeout_ms,
        max_rows=settings.run_max_rows,
        max_bytes=settings.run_max_bytes,
        days_kept=settings.run_days,
        bytes_kept=settings.run_bytes_per_user,
        runs_kept=settings.runs_per_user,
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
        async with kept_up(runner), closing(runner, grace_s=settings.stop_seconds / 3):
            yield runner
