"""Background tasks of the sessions: requests from other replicas, time limits, and rescue."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

from db.database_sessions import (
    SessionBackend,
    close_lost,
    close_overdue,
    mark_missing_holders,
)
from db.events import Event, EventBus
from db.postgres.engine import Database, Session
from db.runs.unscoped.orphans import ORPHAN_GRACE
from db.waiting import cancel_all
from db.workbench.execution.session_signals import CLOSE_TOPIC, WORK_TOPIC
from db.workbench.sessions.closing import record_rescue
from db.workbench.sessions.service import DatabaseSessionsService

log = logging.getLogger(__name__)

TICK_S = 0.5
CHECK_TICKS = 4
"""Ticks between two checks of the connections and rows of the sessions that are held here."""
RESCUE_INTERVAL_S = 4.0


@contextlib.asynccontextmanager
async def session_maintenance(
    service: DatabaseSessionsService,
    events: EventBus,
    rescue: "SessionRescue",
    *,
    rescue_interval_s: float = RESCUE_INTERVAL_S,
) -> AsyncIterator[None]:
    """Runs the background tasks while the block runs."""
    work = {
        "sessions: work": _listen(events, WORK_TOPIC, service.wake),
        "sessions: closing": _listen(events, CLOSE_TOPIC, service.check),
        "sessions: limits": _tick(service),
        "sessions: rescue": _repeat(rescue_interval_s, rescue.run),
    }
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        yield
    finally:
        await cancel_all(tasks)


class SessionRescue:
    """Closes the sessions of dead processes, and those that their process did not close in time.

    Their backends are terminated, so that a process that was only frozen goes on with none of them.
    """

    def __init__(
        self,
        database: Database,
        service: DatabaseSessionsService,
        *,
        grace: timedelta = ORPHAN_GRACE,
    ) -> None:
        self._database = database
        self._service = service
        self._grace = grace

    async def run(self) -> None:
        await self._database.write(mark_missing_holders)

        async def close(session: Session) -> Sequence[SessionBackend]:
            found = [*await close_lost(session, grace=self._grace), *await close_overdue(session)]
            for closed in found:
                await record_rescue(session, closed)
            return found

        closed = await self._database.transaction(close)
        for one in closed:
            log.warning("session %s was closed by another process: %s", one.id, one.close_reason)
        await asyncio.gather(*map(self._service.end_closed, closed))


async def _listen(
    events: EventBus, topic: str, react: Callable[[UUID | None], Awaitable[object]]
) -> None:
    """Calls `react` with the session of each event, and with None after missed ones."""
    async with events.subscribe(topic) as arriving:
        async for event in arriving:
            try:
                await react(_session_of(event))
            except Exception:  # any error: the next round may succeed
                log.exception("cannot serve a request for a session, will retry")


def _session_of(event: Event) -> UUID | None:
    return None if event.missed else UUID(hex=event.payload)


async def _tick(service: DatabaseSessionsService) -> None:
    ticks = 0
    while True:
        await asyncio.sleep(TICK_S)
        ticks += 1
        if service.holder is None:
            continue
        try:
            await service.holder.enforce_limits()
            if ticks % CHECK_TICKS == 0:
                service.holder.poll()
                await service.check(None)
                await service.holder.wake_waiting()
        except Exception:  # any error: the next round may succeed
            log.exception("cannot check the open sessions, will retry")


async def _repeat(every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:  # any error: the next round may succeed
            log.exception("the rescue of sessions failed, will retry")
