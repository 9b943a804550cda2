"""Background tasks of the sessions: requests of other replicas, time limits, and takeovers."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import TaskSet, cancel_all, in_background
from db.database_sessions import SessionBackend, close_lost, close_overdue, find_closed
from db.errors import HowdahError
from db.events import EventBus
from db.installation import is_own
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.replicas import SILENT_AFTER, ReplicaProcesses, UnendedBackends
from db.runs import OrphanRow, RunState, end_overdue, find_ended_runs, interrupt_orphans
from db.workbench.execution.live_status import publish_change
from db.workbench.execution.runner import Runner
from db.workbench.execution.session_signals import CLOSE_TOPIC, WORK_TOPIC
from db.workbench.sessions.closing import audit_takeover
from db.workbench.sessions.service import DatabaseSessionsService

log = logging.getLogger(__name__)

TICK_S = 0.5
CHECK_TICKS = 4
"""Ticks between two checks of the connections and rows of the sessions that are held here."""
TAKEOVER_INTERVAL_S = 2.0

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
        "sessions: takeover": RetryLog(log, "take over the work of dead processes").repeat(
            takeover.run, every_s=takeover_interval_s
        ),
    }
    try:
        async with contextlib.AsyncExitStack() as running:
            for name, coroutine in work.items():
                await running.enter_async_context(in_background(coroutine, name=name))
            yield
    finally:
        await takeover.close()


class _TakenOver(NamedTuple):
    fenced: Sequence[tuple[int, str]]
    closed: Sequence[SessionBackend]
    interrupted: Sequence[OrphanRow]
    overdue: Sequence[OrphanRow]
    left_sessions: Sequence[SessionBackend] = ()
    """Closed before; their backends are still to be terminated."""
    left_runs: Sequence[OrphanRow] = ()


class Takeover:
    """Ends the runs and sessions of dead processes, and those that a process did not end in time.

    Their backends are terminated too, so a process that was only frozen goes on with none of them.
    A backend that is still to be terminated is recorded: a later round tries again, that of another
    process if this one dies.
    """

    def __init__(
        self, database: Database, events: EventBus, runner: Runner, service: DatabaseSessionsService
    ) -> None:
        self._database = database
        self._events = events
        self._runner = runner
        self._service = service
        self._tasks = TaskSet()
        self._ending: set[UUID] = set()
        """The sessions and runs whose backends these tasks terminate."""

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
            self._start(closed, self._service.end_closed)
        for orphan in (*found.interrupted, *found.overdue):
            self._start(orphan, self._end_run)
        for orphan in found.left_runs:
            self._start(orphan, self._end_backend)

    async def close(self) -> None:
        """Terminates no more backends."""
        await cancel_all(self._tasks)

    def _start(self, left: Left, end: Callable[[Left], Coroutine[Any, Any, None]]) -> None:
        """`end` terminates the backend."""
        self._ending.add(left.id)
        task = self._tasks.start(end(left), name="sessions: takeover of one")
        task.add_done_callback(lambda ended: self._settle(left.id, ended))

    def _settle(self, left_id: UUID, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, HowdahError):
            log.error("cannot end what a dead process has left", exc_info=error)
            return  # a bug: no later round of this process tries again
        self._ending.discard(left_id)
        if error is not None:
            log.info("cannot end %s yet, will retry: %s", left_id.hex, error)

    async def _write(self, session: Session) -> _TakenOver:
        """One transaction: a process that wakes up either is alive, or has nothing left to write.

        Sessions before runs, as in all transactions that lock both. What another installation
        executes is not touched, also if its rows were restored into this database meanwhile.
        """
        installation_id = self._runner.heartbeat.installation_id
        if installation_id is not None and not await is_own(session, installation_id):
            return _TakenOver((), (), (), ())
        judge, keep = self._runner.process, self._runner.limits.retention
        fenced = await ReplicaProcesses(session).fence_silent(judge)
        closed = [*await close_lost(session), *await close_overdue(session, judge)]
        for one in closed:
            await audit_takeover(session, one)
        interrupted = await interrupt_orphans(session, keep=keep)
        overdue = await end_overdue(session, judge, keep=keep)
        left_sessions, left_runs = await self._find_left(session, judge)
        ended: list[SessionBackend | OrphanRow] = [*closed, *interrupted, *overdue]
        unended = [one.id for one in ended if one.backend_pid is not None]
        await UnendedBackends(session).add(unended, process=judge)
        return _TakenOver(fenced, closed, interrupted, overdue, left_sessions, left_runs)

    async def _find_left(
        self, session: Session, judge: int
    ) -> tuple[Sequence[SessionBackend], Sequence[OrphanRow]]:
        """The sessions and runs whose backends are left to this process, except those in `_ending`.

        Dead and stopped processes leave theirs. Its own are those that an earlier round could not
        end or did not hear of, and those of sessions and runs that it has ended for a client.
        """
        backends = UnendedBackends(session)
        await backends.adopt(judge)
        ids = [each for each in await backends.of_process(judge) if each not in self._ending]
        if not ids:
            return (), ()
        sessions, runs = await find_closed(session, ids), await find_ended_runs(session, ids)
        found = {one.id for one in sessions} | {one.id for one in runs}
        for deleted in set(ids) - found:
            await backends.remove(deleted, process=judge)
        return sessions, runs

    async def _end_run(self, orphan: OrphanRow) -> None:
        log.warning("run %s was ended, because its process is dead or hangs", orphan.id.hex)
        await publish_change(self._events, orphan.owner_id, orphan.id)
        await self._end_backend(orphan)

    async def _end_backend(self, orphan: OrphanRow) -> None:
        await self._service.end_backend(f"run {orphan.id.hex}", orphan)


async def _listen(
    events: EventBus, topic: str, react: Callable[[UUID | None], Awaitable[object]]
) -> None:
    """Calls `react` with the session of each event, and with None after missed ones."""
    retry_log = RetryLog(log, "serve a request for a session")
    async with events.subscribe(topic) as arriving:
        async for event in arriving:
            with retry_log.attempt():
                await react(event.subject)


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
