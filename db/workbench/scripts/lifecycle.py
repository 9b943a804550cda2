"""Opens the scripts of a process together with their background task."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from db.concurrency.retry_log import RetryLog
from db.events import EventBus
from db.postgres.engine import Database
from db.workbench.execution.runner import Runner
from db.workbench.scripts.service import ScriptsService
from db.workbench.sessions.service import DatabaseSessionsService

log = logging.getLogger(__name__)

RESCUE_INTERVAL_S = 4.0


@contextlib.asynccontextmanager
async def open_scripts(
    database: Database,
    events: EventBus,
    runner: Runner,
    sessions: DatabaseSessionsService,
    *,
    rescue_interval_s: float = RESCUE_INTERVAL_S,
) -> AsyncIterator[ScriptsService]:
    """Close this before the sessions: they end the scripts that still run."""
    service = ScriptsService(database, events, runner, sessions)
    rescue = asyncio.create_task(_rescue(service, rescue_interval_s), name="scripts: rescue")
    try:
        yield service
    finally:
        rescue.cancel()
        await asyncio.gather(rescue, return_exceptions=True)
        await service.close()


async def _rescue(service: ScriptsService, every_s: float) -> None:
    retry_log = RetryLog(log, "end the scripts of closed sessions")
    while True:
        await asyncio.sleep(every_s)
        with retry_log.attempt():
            await service.interrupt_orphans()
