"""Opens and closes database sessions, whichever process holds them."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING
from uuid import UUID

from db.concurrency.waiting import ShieldedTasks
from db.database_sessions import (
    CloseReason,
    DatabaseSessionRow,
    DatabaseSessions,
    SessionBackend,
    SessionState,
)
from db.errors import HowdahError
from db.events import EventBus, Watch
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.replicas import UnendedBackends
from db.runs import Backend, OrphanRow, RunRow, Runs
from db.workbench.connections.workbench import Workbench
from db.workbench.drivers import load_drivers
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.execution.run_failures import stopping_error
from db.workbench.execution.runner import Runner
from db.workbench.execution.session_signals import CLOSE_TOPIC
from db.workbench.sessions.closing import (
    audit_close,
    close_session_row,
    publish_session,
    topic_of_session,
)
from db.workbench.sessions.open_request import OpenRequest, SessionLimits
from db.workbench.sessions.work import QueuedRuns, WorkSource

if TYPE_CHECKING:  # psycopg is imported with the first session, not at the start
    from db.workbench.sessions.holder import Holder

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 2.0
OPEN_WITHIN_S = 15.0
END_WITHIN_S = 30.0


class DatabaseSessionsService:
    """The sessions of all owners. Each is held by the process that opened it."""

    def __init__(
        self,
        database: Database,
        events: EventBus,
        workbench: Workbench,
        runner: Runner,
        *,
        limits: SessionLimits = SessionLimits(),  # noqa: B008 - immutable
        sources: Sequence[WorkSource] = (),
    ) -> None:
        """`sources` have work for sessions besides the queued runs."""
        self.limits = limits
        self.holder: Holder | None = None
        self._database = database
        self._events = events
        self._workbench = workbench
        self._runner = runner
        self._sources = (QueuedRuns(database), *sources)
        self._opening = ShieldedTasks()
        self._is_stopping = False
        runner.heartbeat.on_fenced(self._abandon_all)

    @property
    def open_count(self) -> int:
        """The sessions that this process holds."""
        return 0 if self.holder is None else len(self.holder.held)

    async def open(
        self, owner: OwnerId, request: OpenRequest, *, key: str | None = None
    ) -> DatabaseSessionRow:
        """Opens a session in this process. A caller that is cancelled leaves it open, or not begun.

        Raises:
            RateLimited: The owner has too many open sessions.
        """
        if self._is_stopping:
            raise stopping_error()
        await load_drivers()
        work = self._open(owner, request, key)
        return await self._opening.run(work, name="sessions: opening")

    async def close(self, owner: OwnerId, session_id: UUID) -> DatabaseSessionRow:
        """Rolls the transaction back and closes the session, within a few seconds.

        Closing a closed session changes nothing.
        """
        async with self._events.subscribe(topic_of_session(session_id)) as changes:
            await self._request_close(owner, [await self._read(owner, session_id)])
            row = await changes.read_until(
                lambda row: row.is_closed,
                lambda: self._read(owner, session_id),
                deadline=asyncio.get_running_loop().time() + CLOSE_WITHIN_S,
            )
        if not row.is_closed:
            await self._force_closed(row)
            row = await self._read(owner, session_id)
        return row

    async def close_all_on(self, owner: OwnerId, connection_id: UUID) -> None:
        """Closes the sessions on a connection that is about to be closed or deleted.

        Also ends the statements that other processes execute on it: they hear that it is closed,
        but one that hangs does not, and without the connection they can not be ended.
        """
        process = self._runner.process
        async with self._database.read() as session:
            rows = await DatabaseSessions(session, owner).open_on(connection_id)
            backends = await Runs(session, owner).backends_elsewhere(connection_id, process=process)
        closing = [self.close(owner, row.id) for row in rows]
        await asyncio.gather(*closing, self._end_statements(owner, connection_id, backends))

    async def end_transaction(self, owner: OwnerId, session_id: UUID, command: str) -> RunRow:
        """Executes COMMIT or ROLLBACK in its turn, and waits for its end."""
        request = RunRequest(None, command, session_id=session_id)
        run, _ = await self._runner.submit(owner, request)
        return await self._runner.wait_until_finished(owner, run.id, within_s=END_WITHIN_S)

    def follow(
        self, owner: OwnerId, session_id: UUID
    ) -> AbstractAsyncContextManager[Watch[DatabaseSessionRow | None]]:
        """Follows one session. The value is None if the owner has no such session."""

        async def read(_event: object) -> DatabaseSessionRow | None:
            async with self._database.read() as session:
                return await DatabaseSessions(session, owner).get(session_id)

        topic = topic_of_session(session_id)
        return self._events.watches.follow((owner, topic), topic, read)

    async def stop(self, *, grace_s: float) -> None:
        """Closes the sessions of this process when their runs have ended, or after `grace_s`.

        Those that a server does not let open have the same time.
        """
        self._is_stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_s
        await self._opening.wait(grace_s)
        if self.holder is not None:
            await self.holder.stop(grace_s=max(0.0, until - loop.time()))
        await self._opening.close()

    async def wake(self, session_id: UUID | None) -> None:
        """Call when work waits for a session of any process; None for all sessions."""
        if session_id is None:
            self._runner.signals.wake_all()
        else:
            self._runner.signals.wake(session_id)

    async def check(self, session_id: UUID | None) -> None:
        """Closes the session if it is held here and has to close; None checks all sessions."""
        if self.holder is not None:
            held = list(self.holder.held) if session_id is None else [session_id]
            await self.holder.check(held)

    async def end_closed(self, closed: SessionBackend) -> None:
        """Ends what is left of a session that its process did not close: runs and backend."""
        keep, reason = self._runner.limits.retention, CloseReason(closed.close_reason)
        process = self._runner.process

        async def record(session: Session) -> Sequence[RunRow]:
            owner, session_id = closed.owner_id, closed.id
            runs = await close_session_row(session, owner, session_id, reason, keep=keep)
            await UnendedBackends(session).add([session_id], process=process)
            return runs

        runs = await self._database.transaction(record)
        await publish_session(self._events, closed.id, runs)
        await self.end_backend(f"session {closed.id.hex}", closed)

    async def end_backend(self, subject: str, left: SessionBackend | OrphanRow) -> None:
        """Terminates the backend of an ended session or run, and forgets that it had to."""
        await load_drivers()
        from db.workbench.sessions.backend_termination import end_backend

        process = self._runner.process
        await end_backend(self._workbench, subject, left)
        with contextlib.suppress(HowdahError):  # it is terminated once more
            await self._database.write(
                lambda session: UnendedBackends(session).remove(left.id, process=process)
            )

    async def _end_statements(
        self, owner: OwnerId, connection_id: UUID, backends: Sequence[Backend]
    ) -> None:
        if backends:
            await load_drivers()
            from db.workbench.sessions.backend_termination import end_statements

            await end_statements(self._workbench, owner, connection_id, backends)

    def _abandon_all(self) -> None:
        """The number of this process is dead: another one has closed its sessions."""
        if self.holder is not None:
            for held in list(self.holder.held.values()):
                held.cut()

    async def _open(
        self, owner: OwnerId, request: OpenRequest, key: str | None
    ) -> DatabaseSessionRow:
        from db.workbench.sessions.opening import forget_session, insert_session

        new = await insert_session(
            self._database,
            owner,
            request,
            key,
            process=self._runner.process,
            limits=self.limits,
        )
        if not new.is_new:
            return await self._wait_until_open(owner, new.row)
        try:
            row = await self._require_holder().open(new.row)
        except Exception as error:
            code = error.code if isinstance(error, HowdahError) else HowdahError.code
            keep = self._runner.limits.retention
            await forget_session(self._database, new.row, key, code, keep=keep)
            raise
        await publish_session(self._events, row.id)
        return row

    def _require_holder(self) -> "Holder":
        from db.workbench.sessions.holder import Holder

        if self.holder is None:
            self.holder = Holder(
                self._database, self._events, self._workbench, self._runner, self._sources
            )
        return self.holder

    async def _wait_until_open(self, owner: OwnerId, row: DatabaseSessionRow) -> DatabaseSessionRow:
        """The session of an earlier call, which may still be opening it."""
        async with self.follow(owner, row.id) as watch, asyncio.timeout(OPEN_WITHIN_S):
            now = await watch.current()
            while now is not None and now.state == SessionState.OPENING:
                now = await watch.next_change()
        return await self._read(owner, row.id)

    async def _request_close(self, owner: OwnerId, rows: Sequence[DatabaseSessionRow]) -> None:
        async def request(session: Session) -> None:
            for row in rows:
                asked = await DatabaseSessions(session, owner).request_close(row.id)
                if asked is not None:
                    await audit_close(session, asked, CloseReason.CLIENT)

        await self._database.transaction(request, reserved=True)
        for row in rows:
            if self.holder is not None and row.id in self.holder.held:
                self.holder.held[row.id].close(CloseReason.CLIENT)
            elif not row.is_closed:
                await self._events.publish(CLOSE_TOPIC, row.id.hex)

    async def _force_closed(self, row: DatabaseSessionRow) -> None:
        closed = SessionBackend(
            id=row.id,
            owner_id=row.owner_id,
            connection_id=row.connection_id,
            name=row.name,
            backend_pid=row.backend_pid,
            backend_started_at=row.backend_started_at,
            close_reason=CloseReason.CLIENT,
        )
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self.end_closed(closed)
        except TimeoutError:
            log.warning("the backend of session %s was not terminated in time", row.id.hex)

    async def _read(self, owner: OwnerId, session_id: UUID) -> DatabaseSessionRow:
        """Raises NotFound or Forbidden if the owner has no such session."""
        async with self._database.read(reserved=True) as session:
            return await DatabaseSessions(session, owner).require(session_id, field="sessionId")
