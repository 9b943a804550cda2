"""Opens the sessions of a process together with their background tasks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from db.events import EventBus
from db.postgres.engine import Database
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.runner import Runner
from db.workbench.sessions.maintenance import TAKEOVER_INTERVAL_S, Takeover, session_maintenance
from db.workbench.sessions.open_request import SessionLimits
from db.workbench.sessions.service import DatabaseSessionsService
from db.workbench.sessions.work import WorkSource


@contextlib.asynccontextmanager
async def open_sessions(
    database: Database,
    events: EventBus,
    workbench: Workbench,
    runner: Runner,
    *,
    limits: SessionLimits,
    grace: Callable[[], float],
    sources: Sequence[WorkSource] = (),
    takeover_interval_s: float = TAKEOVER_INTERVAL_S,
) -> AsyncIterator[DatabaseSessionsService]:
    """When the block ends, runs get as many seconds to finish as `grace` returns then.

    After that their sessions are closed.
    """
    service = DatabaseSessionsService(
        database, events, workbench, runner, limits=limits, sources=sources
    )
    takeover = Takeover(database, events, runner, service)
    async with session_maintenance(
        service, events, takeover, takeover_interval_s=takeover_interval_s
    ):
        try:
            yield service
        finally:  # at the same time: all runs have the same grace
            grace_s = grace()
            await asyncio.gather(service.stop(grace_s=grace_s), runner.close(grace_s=grace_s))
