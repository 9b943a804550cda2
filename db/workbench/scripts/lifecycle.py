"""Opens the scripts of a process together with their background task."""

import contextlib
import logging
from collections.abc import AsyncIterator

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import in_background
from db.events import EventBus
from db.postgres.engine import Database
from db.workbench.execution.runner import Runner
from db.workbench.scripts.service import ScriptsService
from db.workbench.sessions.service import DatabaseSessionsService

log = logging.getLogger(__name__)

ORPHANS_INTERVAL_S = 4.0


@contextlib.asynccontextmanager
async def open_scripts(
    database: Database,
    events: EventBus,
    runner: Runner,
    sessions: DatabaseSessionsService,
    *,
    orphans_interval_s: float = ORPHANS_INTERVAL_S,
) -> AsyncIterator[ScriptsService]:
    """Close this before the sessions: they end the scripts that still run."""
    service = ScriptsService(database, events, runner, sessions)
    retry_log = RetryLog(log, "end the scripts of closed sessions")
    orphans = retry_log.repeat(service.interrupt_orphans, every_s=orphans_interval_s)
    try:
        async with in_background(orphans, name="scripts: orphans"):
            yield service
    finally:
        await service.close()
