"""Holds the sessions of this process: a worker for each executes what waits for it, in order."""

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from uuid import UUID

from db.concurrency.waiting import TaskSet, cancel_all, retry_while_away, wait_up_to
from db.database_sessions import (
    CloseReason,
    DatabaseSessionRow,
    DatabaseSessions,
    SessionStatus,
    closed_error,
    held_states,
)
from db.errors import HowdahError
from db.events import EventBus
from db.kit.audit import acting, current_actor
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import Failure, RunRow
from db.workbench.connections.libpq import Connection
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.run_failures import stopping_error
from db.workbench.execution.runner import Runner
from db.workbench.sessions import opening
from db.workbench.sessions.closing import audit_close, close_session_row, publish_session
from db.workbench.sessions.held_session import HeldSession
from db.workbench.sessions.session_use import SessionUse
from db.workbench.sessions.work import SessionEnded, Work, WorkSource

log = logging.getLogger(__name__)

RETRY_S = 0.5
STOPPED_S = 4.0


class Holder:
    def __init__(
        self,
        database: Database,
        events: EventBus,
        workbench: Workbench,
        runner: Runner,
        sources: Sequence[WorkSource],
    ) -> None:
        self.held: dict[UUID, HeldSession] = {}
        self._database = database
        self._events = events
        self._workbench = workbench
        self._runner = runner
        self._sources = sources
        self._tasks = TaskSet()
        self._is_stopping = False

    def open(self, row: DatabaseSessionRow) -> "asyncio.Future[DatabaseSessionRow]":
        """Opens a session and serves it until it closes; the result is its row once it is open."""
        opened = asyncio.get_running_loop().create_future()
        actor = current_actor.get()

        async def hold() -> None:
            try:
                async with self._workbench.open_dedicated(
                    row.owner_id, self._connection_of(row)
                ) as connection:
                    with acting(actor):
                        held = await self._begin(row, connection)
                    opened.set_result(held.row)
                    await self._serve(held, connection)
            except Exception as error:
                if opened.done():
                    log.exception("session %s failed with an internal error", row.id.hex)
                else:
                    opened.set_exception(error)
            except BaseException:
                if not opened.done():
                    opened.set_exception(stopping_error())
                raise

        # A context of its own: what the session does later is not the act of this request.
        self._tasks.start(hold(), name="sessions: session", context=contextvars.Context())
        return opened

    async def execute(self, held: HeldSession, use: SessionUse) -> RunRow:
        """Executes a run, and records the state of the session in the transaction of its end."""
        began = asyncio.get_running_loop().time()
        recorded: SessionStatus | None = None

        async def commit_with(session: Session) -> None:
            nonlocal recorded
            sessions = DatabaseSessions(session, held.row.owner_id)
            recorded = held.status_after(use.run, began)
            if recorded is None:
                closed = await sessions.close(held.row.id, CloseReason.LOST)
                if closed is not None:
                    await audit_close(session, closed, CloseReason.LOST)
                return
            process = held.row.process
            if await sessions.end_statement(held.row.id, recorded, process=process) is None:
                recorded = None

        run = await self._runner.execute(use, commit_with)
        if recorded is None:
            held.cut()  # lost, or closed by another process
        else:
            held.apply(recorded, began)
        await publish_session(self._events, held.row.id)
        return run

    def stop_run(self, run_id: UUID, state: str, error: Failure | None) -> bool:
        return self._runner.stop(run_id, state, error)

    def wake(self, session_id: UUID) -> bool:
        return self._runner.signals.wake(session_id)

    async def check(self, session_ids: Sequence[UUID]) -> None:
        """Closes the sessions that have to close, and abandons those that others have closed."""
        ids = [session_id for session_id in session_ids if session_id in self.held]
        if not ids:
            return
        async with self._database.read(reserved=True) as session:
            found = {state.id: state for state in await held_states(session, ids)}
        for session_id in ids:
            held, state = self.held.get(session_id), found.get(session_id)
            if held is None:
                continue
            if state is None or state.is_closed:
                held.cut()
            elif state.close_requested:
                held.close(CloseReason.CLIENT)

    async def wake_waiting(self) -> None:
        """Wakes the sessions for which work waits: an event may have been lost."""
        for source in self._sources:
            for session_id in await source.sessions(self._runner.process):
                self.wake(session_id)

    def poll(self) -> None:
        """Notices which connections their servers have closed, and takes notifications."""
        for held in list(self.held.values()):
            held.poll()

    async def enforce_limits(self) -> None:
        """Closes the sessions whose time is over, and warns of those whose time is soon."""
        now = asyncio.get_running_loop().time()
        for held in list(self.held.values()):
            expires_at, warns_at = held.expires_at, held.warns_at
            if expires_at is None or warns_at is None or held.closing is not None:
                continue
            if now >= expires_at:
                held.close(held.expiry_reason)
            elif now >= warns_at and not held.is_warned:
                held.is_warned = True
                await self._warn(held, held.expiry_reason)

    async def stop(self, *, grace_s: float) -> None:
        """Begins nothing more, and closes the sessions when their runs have ended."""
        self._is_stopping = True
        self._runner.signals.wake_all()
        await self._tasks.wait(grace_s)
        for held in list(self.held.values()):
            held.close(CloseReason.SERVER_STOPPED)
        await self._tasks.wait(STOPPED_S)
        await cancel_all(self._tasks)

    @staticmethod
    def _connection_of(row: DatabaseSessionRow) -> UUID:
        if row.connection_id is None:
            raise closed_error(row, field="connectionId")
        return row.connection_id

    async def _begin(self, row: DatabaseSessionRow, connection: Connection) -> HeldSession:
        """Raises Conflict if the session was closed while it opened."""
        backend = await opening.set_up(connection, row)
        held = HeldSession(row, connection, backend, self)
        await opening.warn_of_risks(held, connection)
        status = held.idle_status()

        async def record(session: Session) -> DatabaseSessionRow:
            sessions = DatabaseSessions(session, row.owner_id)
            opened = await sessions.record_opened(
                row.id, status, pid=backend.pid, started_at=backend.started_at
            )
            if opened is None:
                raise closed_error(row, field="connectionId")
            await opening.record_opened(session, opened)
            return opened

        held.row = await self._database.transaction(record)
        self.held[row.id] = held
        return held

    async def _serve(self, held: HeldSession, connection: Connection) -> None:
        reason = CloseReason.LOST
        try:
            with self._runner.signals.registered(held.row.id) as woken:
                await self._work(held, woken)
            reason = held.closing or CloseReason.SERVER_STOPPED
            await held.roll_back()
        finally:
            connection.finish()
            try:
                await self._record_closed(held, reason)
            finally:
                del self.held[held.row.id]

    async def _work(self, held: HeldSession, woken: asyncio.Event) -> None:
        """Executes what waits until the session has to close."""
        while held.closing is None and not self._is_stopping:
            woken.clear()
            try:
                work = await self._next_work(held)
            except SessionEnded:
                await self.check([held.row.id])
                if held.closing is None:
                    held.cut()
                continue
            except HowdahError as error:
                log.warning("cannot claim the next run of a session: %s", error.message)
                await wait_up_to(RETRY_S, woken.wait())
                continue
            if work is not None:
                await work(held)
            else:
                await woken.wait()

    async def _next_work(self, held: HeldSession) -> Work | None:
        found = await asyncio.gather(*(source.oldest(held) for source in self._sources))
        waiting = [
            (since, source)
            for since, source in zip(found, self._sources, strict=True)
            if since is not None
        ]
        if not waiting:
            return None
        _, source = min(waiting, key=lambda item: item[0])
        return await source.next_work(held)

    async def _warn(self, held: HeldSession, reason: CloseReason) -> None:
        row = held.row
        await self._database.write(
            lambda session: DatabaseSessions(session, row.owner_id).warn(
                row.id, reason, process=row.process
            )
        )
        await publish_session(self._events, row.id)

    async def _record_closed(self, held: HeldSession, reason: CloseReason) -> None:
        """Retries until the database is available: its runs and its clients wait for this."""
        row, keep = held.row, self._runner.limits.retention

        async def write() -> Sequence[RunRow]:
            return await self._database.transaction(
                lambda session: close_session_row(session, row.owner_id, row.id, reason, keep=keep)
            )

        ended = await retry_while_away(write, log, f"close session {row.id.hex}")
        await publish_session(self._events, row.id, ended)
