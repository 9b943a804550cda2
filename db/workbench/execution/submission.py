"""Accepts runs: each is written to the database once, already started if a slot is free."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from db.concurrency.waiting import ShieldedTasks, TaskSet, cancel_all, retry_while_away
from db.connections import Connections
from db.database_sessions import DatabaseSessions
from db.errors import BadInput, Conflict, TimedOut
from db.events import EventBus
from db.kit.audit import Actor, acting, current_actor
from db.kit.base import OwnerId, new_id
from db.kit.group_commit import GroupCommit
from db.kit.idempotency import Idempotency, NewId, run_once
from db.kit.row_quota import RowQuota
from db.postgres.engine import Database
from db.postgres.route.connect import Dropped
from db.postgres.sessions import Session
from db.replicas import Heartbeat
from db.runs import NewRun, RunQueue, RunRow, Runs, RunState, SessionQueue
from db.workbench.execution.live_status import publish_change
from db.workbench.execution.request.run_request import RunLimits, RunRequest
from db.workbench.execution.request.saved_statement import check_call, resolve_saved
from db.workbench.execution.run_executor import RunExecutor
from db.workbench.execution.scheduler import RunScheduler
from db.workbench.execution.session_signals import SessionSignals

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.connections.pools.connection_pool import ReservedConnection
    from db.workbench.execution.statement.lender import Lender

log = logging.getLogger(__name__)

MAX_TEXT_GRANT = 16 * 1024 * 1024


class SubmittedRun(NamedTuple):
    """`replayed` is true if the run was submitted before under the same idempotency key."""

    run: RunRow
    replayed: bool


class _Draft(NamedTuple):
    """A run that is not accepted yet, and what it can start with."""

    id: UUID
    owner: OwnerId
    request: RunRequest
    has_slot: bool
    reserved: "ReservedConnection | None"
    actor: Actor
    """Who submits it: a group of runs is written in the context of one of their requests."""


class _Accepted(NamedTuple):
    run: RunRow
    has_backend: bool
    """The backend of the reserved connection was recorded with the run."""


class Submissions:
    """Writes runs to the database, and passes them to the executor or to the scheduler."""

    def __init__(
        self,
        database: Database,
        events: EventBus,
        executor: RunExecutor,
        scheduler: RunScheduler,
        lender: "Lender",
        limits: Callable[[], RunLimits],
        *,
        heartbeat: Heartbeat,
        signals: SessionSignals,
    ) -> None:
        self._database = database
        self._events = events
        self._executor = executor
        self._scheduler = scheduler
        self._lender = lender
        self._limits = limits
        self._heartbeat = heartbeat
        self._signals = signals
        self._drafts = GroupCommit(database, self._write, order=lambda draft: draft.owner)
        self._submitting = ShieldedTasks()
        self._recoveries = TaskSet()
        self._text_quota = RowQuota(
            "bytes of statements, parameters, notices, columns and errors in your runs",
            setting="HOWDAH_RUN_TEXT_BYTES_PER_USER",
            limit=limits().max_kept_text,
            count=_text_bytes,
            max_grant=MAX_TEXT_GRANT,
            hint="Delete runs, or wait up to 10 minutes until the oldest are removed",
        )

    async def submit(self, owner: OwnerId, request: RunRequest, key: str | None) -> SubmittedRun:
        """A caller that is cancelled leaves the run either accepted, and executed, or not."""
        if request.saved is not None:
            check_call(request.saved)
            if key is not None and (earlier := await self._find_earlier(owner, request, key)):
                return earlier
            async with self._database.read() as session:
                request = await resolve_saved(session, owner, request)
        work = self._submit(owner, request.validate(self._limits()), key)
        return await self._submitting.run(work, name="runs: submission")

    async def close(self) -> None:
        """Waits for the submissions that have begun. Runs that are not recovered are orphans."""
        await self._submitting.close()
        await cancel_all(self._recoveries)

    async def _find_earlier(
        self, owner: OwnerId, request: RunRequest, key: str
    ) -> SubmittedRun | None:
        """The run of a request that is repeated, although its saved query may be deleted."""
        async with self._database.read() as session:
            keys = Idempotency(session, owner)
            found = await keys.find_answer(key, request.call, answer=NewId)
            if found is None:
                return None
            return SubmittedRun(await Runs(session, owner).require(found.id), replayed=True)

    async def _submit(self, owner: OwnerId, request: RunRequest, key: str | None) -> SubmittedRun:
        if request.session_id is not None:
            return await self._submit_to_session(owner, request, key)
        connection_id = _require_connection(request)
        has_slot = self._scheduler.take_slot(owner)
        reserved: ReservedConnection | None = None
        started = False
        try:
            if has_slot:
                reserved = await self._lender.reserve(owner, connection_id)
            draft = _Draft(new_id(), owner, request, has_slot, reserved, current_actor.get())
            accepted = await self._accept(draft, key)
            if isinstance(accepted, SubmittedRun):
                return accepted
            if accepted.run.state == RunState.RUNNING:
                used = reserved if accepted.has_backend else None
                self._executor.start(accepted.run, self._limits(), used)
                started = True
                reserved = None if accepted.has_backend else reserved
            else:
                self._scheduler.wake(owner)
                await publish_change(self._events, owner, accepted.run.id)
            return SubmittedRun(accepted.run, replayed=False)
        except (Dropped, TimedOut):  # the commit may have happened
            started = True  # the recovery has the slot now
            self._recoveries.start(self._recover(draft), name="runs: recovery")
            raise
        finally:
            if reserved is not None:
                reserved.release()
            if has_slot and not started:
                self._scheduler.free_slot(owner)

    async def _submit_to_session(
        self, owner: OwnerId, request: RunRequest, key: str | None
    ) -> SubmittedRun:
        """Queues the run for the process that holds the session, whatever happens then.

        It takes no slot: a slot may be taken by a run that waits for a lock of this session.
        """
        draft = _Draft(
            new_id(), owner, request, has_slot=False, reserved=None, actor=current_actor.get()
        )
        accepted = await self._accept(draft, key)
        if isinstance(accepted, SubmittedRun):
            return accepted
        assert request.session_id is not None  # noqa: S101 - else it was not accepted
        await self._signals.announce(request.session_id)
        await publish_change(self._events, owner, accepted.run.id)
        return SubmittedRun(accepted.run, replayed=False)

    async def _accept(self, draft: _Draft, key: str | None) -> _Accepted | SubmittedRun:
        """Returns an earlier run if the key was used before."""
        if key is None and draft.request.session_id is None:
            return await self._drafts.add(draft)
        if key is None:  # alone: it locks the row of the session
            return await self._database.transaction(lambda session: self._write(session, draft))
        accepted: _Accepted | None = None

        async def write(session: Session) -> NewId:
            nonlocal accepted
            accepted = await self._write(session, draft)
            return NewId(draft.id)

        found = await run_once(
            self._database, draft.owner, write, key=key, request=draft.request.call, answer=NewId
        )
        if accepted is not None and found.id == draft.id:
            return accepted
        async with self._database.read() as session:
            return SubmittedRun(await Runs(session, draft.owner).require(found.id), replayed=True)

    async def _write(self, session: Session, draft: _Draft) -> _Accepted:
        """Raises RateLimited or TooLarge if the owner has too many runs, or too much text."""
        if draft.request.session_id is not None:
            return await self._write_to_session(session, draft, draft.request.session_id)
        request, limits, reserved = draft.request, self._limits(), draft.reserved
        connections, queue = Connections(session, draft.owner), RunQueue(session, draft.owner)
        connection_id = _require_connection(request)
        connection, lock = await connections.require_and_lock_run_queue(
            connection_id, field="connectionId"
        )
        with acting(draft.actor):
            new = request.to_new_run(connection, limits)
        await self._text_quota.check(queue, more=_size_of(new))
        is_current = reserved is not None and reserved.generation == connection.generation
        backend = reserved.backend if reserved is not None and is_current else None
        run = await queue.accept(
            lock,
            draft.id,
            new,
            process=self._heartbeat.process,
            has_slot=draft.has_slot,
            backend=backend,
            max_running=limits.max_running,
            max_active=limits.max_active,
        )
        return _Accepted(run, has_backend=backend is not None and run.state == RunState.RUNNING)

    async def _write_to_session(
        self, session: Session, draft: _Draft, session_id: UUID
    ) -> _Accepted:
        """Raises Conflict if the session is closed, or may write and must not any more."""
        request, limits, owner = draft.request, self._limits(), draft.owner
        held = await DatabaseSessions(session, owner).lock_open(session_id, field="sessionId")
        connection_id = held.connection_id or session_id  # deleted: no connection has this ID
        connection = await Connections(session, owner).require(connection_id, field="sessionId")
        if not held.read_only and (connection.read_only or request.read_only):
            raise Conflict(
                "This session is not read-only, but the statement has to be.",
                hint="Open another session with `readOnly: true`.",
                field="sessionId",
            )
        with acting(draft.actor):
            new = request._replace(read_only=held.read_only).to_new_run(connection, limits)
        queue = SessionQueue(session, owner)
        await self._text_quota.check(queue, more=_size_of(new))
        run = await queue.accept(draft.id, new, process=held.process, max_active=limits.max_active)
        return _Accepted(run, has_backend=False)

    async def _recover(self, draft: _Draft) -> None:
        """Executes a run whose commit was not confirmed, if it was accepted."""

        async def read() -> RunRow | None:
            async with self._database.read() as session:
                return await Runs(session, draft.owner).get(draft.id)

        run = await retry_while_away(read, log, f"read run {draft.id.hex}")
        if run is not None and run.state == RunState.RUNNING:
            self._executor.start(run, self._limits())
            return
        if draft.has_slot:
            self._scheduler.free_slot(draft.owner)
        if run is not None:
            self._scheduler.wake(draft.owner)


def _size_of(new: NewRun) -> int:
    return len(new.statement.encode()) + len(new.parameters.encode())


def _require_connection(request: RunRequest) -> UUID:
    if request.connection_id is None:
        raise BadInput(
            "The run has neither a connection nor a session.",
            hint="Pass `connectionId` or `sessionId`.",
            field="connectionId",
        )
    return request.connection_id


async def _text_bytes(session: Session, owner: OwnerId) -> int:
    return (await Runs(session, owner).usage()).text_bytes
