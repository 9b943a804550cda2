"""Background tasks of the sessions: requests of other replicas, time limits, and takeovers."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import Backoff, cancel_all, retry
from db.database_sessions import SessionBackend, close_lost, close_overdue, find_closed
from db.errors import HowdahError, Overloaded, Unavailable
from db.events import Event, EventBus
from db.installation import is_own
from db.postgres.engine import Database, Session
from db.replicas import SILENT_AFTER, Replicas, UnendedBackends
from db.runs import OrphanRow, RunState, end_overdue, find_ended_runs, interrupt_orphans
from db.workbench.connections.workbench import Workbench
from db.workbench.drivers import load_drivers
from db.workbench.execution.live_status import publish_change
from db.workbench.execution.runner import Runner
from db.workbench.execution.session_signals import CLOSE_TOPIC, WORK_TOPIC
from db.workbench.sessions.closing import record_rescue
from db.workbench.sessions.service import DatabaseSessionsService

log = logging.getLogger(__name__)

TICK_S = 0.5
CHECK_TICKS = 4
"""Ticks between two checks of the connections and rows of the sessions that are held here."""
TAKEOVER_INTERVAL_S = 2.0
BACKOFF = Backoff(first_s=0.1, longest_s=2.0)
END_SESSION_S = 60.0

Left = TypeVar("Left", SessionBackend, OrphanRow)


@contextlib.asynccontextmanager
async def session_maintenance(
    service: DatabaseSessionsService,
    events: EventBus,
    takeover: "Takeover",
    *,
    takeover_interval_s: float = TAKEOVER_INTERVAL_S,
) -> AsyncIterator[None]:
    """Runs the background tasks while the block runs."""
    work = {
        "sessions: work": _listen(events, WORK_TOPIC, service.wake),
        "sessions: closing": _listen(events, CLOSE_TOPIC, service.check),
        "sessions: limits": _tick(service),
        "sessions: takeover": _repeat(takeover_interval_s, takeover.run),
    }
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        yield
    finally:
        await cancel_all(tasks)
        await takeover.close()


class _TakenOver(NamedTuple):
    fenced: Sequence[tuple[int, str]]
    closed: Sequence[SessionBackend]
    interrupted: Sequence[OrphanRow]
    overdue: Sequence[OrphanRow]
    left_sessions: Sequence[SessionBackend] = ()
    """Closed by a process that died, or stopped, before it had terminated their backends."""
    left_runs: Sequence[OrphanRow] = ()


class Takeover:
    """Ends the runs and sessions of dead processes, and those that a process did not end in time.

    Their backends are terminated too, so a process that was only frozen goes on with none of them.
    A backend that is still to be terminated is recorded, so that another process does it if this
    one dies.
    """

    def __init__(
        self,
        database: Database,
        events: EventBus,
        workbench: Workbench,
        runner: Runner,
        service: DatabaseSessionsService,
    ) -> None:
        self._database = database
        self._events = events
        self._workbench = workbench
        self._runner = runner
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Returns when the ends are recorded; the backends are terminated in the background.

        A target that does not respond delays no other one.
        """
        found = await self._database.transaction(self._write)
        for process, host in found.fenced:
            silent_s = SILENT_AFTER.total_seconds()
            log.warning("process %d on %s sent nothing for %d s: dead", process, host, silent_s)
        for closed in found.closed:
            log.warning(
                "session %s was closed by another process: %s", closed.id.hex, closed.close_reason
            )
        ended = self._runner.figures.ended  # no other process counts these runs
        ended[RunState.INTERRUPTED] += len(found.interrupted)
        ended[RunState.TIMED_OUT] += len(found.overdue)
        for closed in (*found.closed, *found.left_sessions):
            self._start(closed, self._end_session)
        for orphan in (*found.interrupted, *found.overdue):
            self._start(orphan, self._end_run)
        for orphan in found.left_runs:
            self._start(orphan, self._end_backend)

    async def close(self) -> None:
        """Terminates no more backends."""
        await cancel_all(self._tasks)

    def _start(self, left: Left, end: Callable[[Left], Awaitable[None]]) -> None:
        """`end` terminates the backend."""
        process = self._runner.process

        async def finish() -> None:
            await end(left)
            with contextlib.suppress(HowdahError):  # another process tries once more
                await self._database.write(
                    lambda session: UnendedBackends(session).remove(left.id, process=process)
                )

        task = asyncio.create_task(finish(), name="sessions: takeover of one")
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("cannot end what a dead process has left", exc_info=error)

    async def _write(self, session: Session) -> _TakenOver:
        """One transaction: a process that wakes up either is alive, or has nothing left to write.

        Sessions before runs, as in all transactions that lock both. What another installation
        executes is not touched, also if its rows were restored into this database meanwhile.
        """
        installation_id = self._runner.heartbeat.installation_id
        if installation_id is not None and not await is_own(session, installation_id):
            return _TakenOver((), (), (), ())
        judge, keep = self._runner.process, self._runner.limits.retention
        fenced = await Replicas(session).fence_silent(judge)
        closed = [*await close_lost(session), *await close_overdue(session, judge)]
        for one in closed:
            await record_rescue(session, one)
        interrupted = await interrupt_orphans(session, keep=keep)
        overdue = await end_overdue(session, judge, keep=keep)
        left_sessions, left_runs = await _adopt(session, judge)
        ended: list[SessionBackend | OrphanRow] = [*closed, *interrupted, *overdue]
        unended = [one.id for one in ended if one.backend_pid is not None]
        await UnendedBackends(session).add(unended, process=judge)
        return _TakenOver(fenced, closed, interrupted, overdue, left_sessions, left_runs)

    async def _end_session(self, closed: SessionBackend) -> None:
        """No later round finds it: its row is closed."""
        await retry(
            lambda: self._service.end_closed(closed),
            on=(Unavailable, Overloaded),
            backoff=BACKOFF,
            deadline=asyncio.get_running_loop().time() + END_SESSION_S,
            report=lambda error: log.info("cannot end session %s yet: %s", closed.id.hex, error),
        )

    async def _end_run(self, orphan: OrphanRow) -> None:
        log.warning("run %s was ended, because its process is dead or hangs", orphan.id.hex)
        await publish_change(self._events, orphan.owner_id, orphan.id)
        await self._end_backend(orphan)

    async def _end_backend(self, orphan: OrphanRow) -> None:
        await load_drivers()
        from db.workbench.sessions.rescue import end_backend

        await end_backend(self._workbench, f"run {orphan.id.hex}", orphan)


async def _adopt(
    session: Session, judge: int
) -> tuple[Sequence[SessionBackend], Sequence[OrphanRow]]:
    """The sessions and runs whose backends a process has left that died or stopped."""
    ids = await UnendedBackends(session).adopt(judge)
    if not ids:
        return (), ()
    sessions, runs = await find_closed(session, ids), await find_ended_runs(session, ids)
    found = {one.id for one in sessions} | {one.id for one in runs}
    for deleted in set(ids) - found:
        await UnendedBackends(session).remove(deleted, process=judge)
    return sessions, runs


async def _listen(
    events: EventBus, topic: str, react: Callable[[UUID | None], Awaitable[object]]
) -> None:
    """Calls `react` with the session of each event, and with None after missed ones."""
    retry_log = RetryLog(log, "serve a request for a session")
    async with events.subscribe(topic) as arriving:
        async for event in arriving:
            with retry_log.attempt():
                await react(_session_of(event))


def _session_of(event: Event) -> UUID | None:
    return None if event.missed else UUID(hex=event.payload)


async def _tick(service: DatabaseSessionsService) -> None:
    retry_log = RetryLog(log, "check the open sessions")
    ticks = 0
    while True:
        await asyncio.sleep(TICK_S)
        ticks += 1
        if service.holder is None:
            continue
        with retry_log.attempt():
            await service.holder.enforce_limits()
            if ticks % CHECK_TICKS == 0:
                service.holder.poll()
                await service.check(None)
                await service.holder.wake_waiting()


async def _repeat(every_s: float, work: Callable[[], Awaitable[object]]) -> None:
    retry_log = RetryLog(log, "take over the work of dead processes")
    while True:
        await asyncio.sleep(every_s)
        with retry_log.attempt():
            await work()
