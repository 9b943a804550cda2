"""Submits, cancels and follows scripts, whichever process executes them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, TypeVar
from uuid import UUID

from db.concurrency.fair_slots import FairSlots
from db.concurrency.waiting import Backoff, ShieldedTasks, retry
from db.connections import Connections
from db.database_sessions import DatabaseSessionRow, DatabaseSessions
from db.errors import BadInput, Conflict, HowdahError, Unavailable
from db.events import EventBus, Watch
from db.kit.base import OwnerId, new_id
from db.kit.idempotency import Idempotency, NewId, run_once
from db.kit.row_quota import RowQuota
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import Runs, ScriptedRuns
from db.scripts import ScriptRunRow, ScriptRuns, ScriptState, interrupt_orphaned_scripts
from db.workbench.execution.runner import Runner
from db.workbench.scripts.script_failures import NEVER_STARTED, SESSION_ENDED, encode
from db.workbench.scripts.script_request import ScriptRequest
from db.workbench.scripts.script_topics import publish_script, topic_of_script
from db.workbench.scripts.splitter import StatementRange, split_script
from db.workbench.sessions.open_request import OpenRequest
from db.workbench.sessions.service import OPEN_WITHIN_S, DatabaseSessionsService

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=0.05, longest_s=2.0)
SETTLE_S = 15.0
"""How long the outcome of opening a session for a script is tried to be recorded."""
CANCEL_WITHIN_S = 1.9
OWN_SESSION_IDLE_MS = 60_000
"""A session that was opened for a script idles only if its script was cancelled before."""
MAX_SPLITS = 2
MAX_SPLITS_PER_USER = 1
MAX_WAITING_SPLITS = 50
"""Waiting scripts of one user."""
MAX_TEXT_GRANT = 16 * 1024 * 1024

T = TypeVar("T")


class SubmittedScript(NamedTuple):
    """`replayed` is true if the script was submitted before under the same idempotency key."""

    script: ScriptRunRow
    replayed: bool


class ScriptsService:
    """The scripts of all owners. Each is executed by the process that holds its session."""

    def __init__(
        self,
        database: Database,
        events: EventBus,
        runner: Runner,
        sessions: DatabaseSessionsService,
    ) -> None:
        self._database = database
        self._events = events
        self._runner = runner
        self._sessions = sessions
        self._splits = FairSlots(  # the longest script takes up to 1 s
            "scripts to split",
            total=MAX_SPLITS,
            of_one_user=lambda: MAX_SPLITS_PER_USER,
            max_waiting=MAX_WAITING_SPLITS,
        )
        self._submitting = ShieldedTasks()
        self._text_quota = RowQuota(
            "bytes of statements, parameters, notices and scripts",
            setting="HOWDAH_RUN_TEXT_BYTES_PER_USER",
            limit=runner.limits.max_kept_text,
            count=_text_bytes,
            max_grant=MAX_TEXT_GRANT,
            hint="Delete runs, or wait up to 10 minutes until the oldest are removed",
        )

    async def submit(
        self, owner: OwnerId, request: ScriptRequest, *, key: str | None = None
    ) -> SubmittedScript:
        """Queues a script in its session, or in one that it opens, and returns.

        A caller that is cancelled leaves the script either queued or not.

        Raises:
            BadInput: The script cannot be split, or has commands of psql.
            RateLimited: The owner has too many queued and running scripts, or open sessions.
            TooLarge: The script, or the texts of the owner's runs together, are too large.
        """
        limits = self._runner.limits
        statements = await self._splits.run(
            owner, lambda: asyncio.to_thread(request.validate, limits)
        )
        work = self._submit(owner, request, statements, key)
        return await self._submitting.run(work, name="scripts: submission")

    async def split(self, owner: OwnerId, script: str) -> list[StatementRange]:
        """Splits a script without executing it.

        Raises:
            BadInput: It has commands of psql.
            RateLimited: Too many scripts of the owner wait to be split.
            TooLarge: It is too long, or has too many statements.
        """
        return await self._splits.run(owner, lambda: asyncio.to_thread(split_script, script))

    async def cancel(self, owner: OwnerId, script_id: UUID) -> ScriptRunRow:
        """Ends a script within two seconds: its statement is cancelled, and no other begins.

        Returns the script as it is if it has ended before.
        """
        deadline = asyncio.get_running_loop().time() + CANCEL_WITHIN_S
        keep = self._runner.limits.retention
        async with self._events.subscribe(topic_of_script(script_id)) as changes:
            requested = await self._database.write(
                lambda session: ScriptRuns(session, owner).request_cancel(script_id, keep=keep),
                reserved=True,
            )
            if requested is None:
                return await self._read(owner, script_id)
            await publish_script(self._events, script_id)
            await self._cancel_statement(owner, requested)
            row = await changes.read_until(
                lambda row: row.is_finished,
                lambda: self._read(owner, script_id),
                deadline=deadline,
            )
        if not row.is_finished:  # its process stops when it wants to begin the next statement
            await self._database.write(
                lambda session: ScriptRuns(session, owner).force_cancelled(script_id, keep=keep),
                reserved=True,
            )
            await publish_script(self._events, script_id)
            row = await self._read(owner, script_id)
        return row

    def follow(
        self, owner: OwnerId, script_id: UUID
    ) -> AbstractAsyncContextManager[Watch[ScriptRunRow | None]]:
        """Follows one script. The value is None if the owner has no such script."""

        async def read(_event: object) -> ScriptRunRow | None:
            async with self._database.read() as session:
                return await ScriptRuns(session, owner).get(script_id)

        topic = topic_of_script(script_id)
        return self._events.watches.follow((owner, topic), topic, read)

    async def interrupt_orphans(self) -> None:
        """Ends the scripts whose session has ended, and those that never got one."""
        ended = await self._database.write(
            lambda session: interrupt_orphaned_scripts(
                session,
                queued=encode(NEVER_STARTED) or "",
                running=encode(SESSION_ENDED) or "",
                keep=self._runner.limits.retention,
            )
        )
        for _, script_id in ended:
            log.warning("script %s was interrupted: its session has ended", script_id.hex)
            await publish_script(self._events, script_id)

    async def close(self) -> None:
        """Waits for the submissions that have begun."""
        await self._submitting.close()

    async def _submit(
        self,
        owner: OwnerId,
        request: ScriptRequest,
        statements: list[StatementRange],
        key: str | None,
    ) -> SubmittedScript:
        script_id = new_id()

        async def insert(session: Session) -> NewId:
            await self._insert(session, owner, script_id, request, statements)
            return NewId(script_id)

        call = ("executeScript", request)
        found = await run_once(self._database, owner, insert, key=key, request=call, answer=NewId)
        row = await self._read(owner, found.id)
        if found.id != script_id:
            return SubmittedScript(await self._wait_for_session(row), replayed=True)
        if row.session_id is None:
            row = await self._open_session(row, key)
        else:
            await self._runner.signals.announce(row.session_id)
        return SubmittedScript(row, replayed=False)

    async def _wait_for_session(self, row: ScriptRunRow) -> ScriptRunRow:
        """The script of an earlier call, which deletes it if it can open no session for it.

        Raises:
            Unavailable: It was deleted, or still has no session.
        """

        async def read() -> ScriptRunRow | None:
            async with self._database.read(reserved=True) as session:
                return await ScriptRuns(session, row.owner_id).get(row.id)

        def is_settled(found: ScriptRunRow | None) -> bool:
            return found is None or found.session_id is not None or found.is_finished

        if is_settled(row):
            return row
        deadline = asyncio.get_running_loop().time() + OPEN_WITHIN_S
        async with self._events.subscribe(topic_of_script(row.id)) as changes:
            found = await changes.read_until(is_settled, read, deadline=deadline)
        if found is None or not is_settled(found):
            raise Unavailable(
                "No session was opened for this script.",
                hint="Send the request again, with the same `idempotencyKey`.",
            )
        return found

    async def _insert(
        self,
        session: Session,
        owner: OwnerId,
        script_id: UUID,
        request: ScriptRequest,
        statements: list[StatementRange],
    ) -> None:
        held = None
        connection_id, field = request.connection_id, "connectionId"
        if request.session_id is not None:
            field = "sessionId"
            sessions = DatabaseSessions(session, owner)
            held = await sessions.lock_open(request.session_id, field=field)
            connection_id = held.connection_id or request.session_id  # deleted: it has no such ID
        if connection_id is None:
            raise BadInput(
                "The script has neither a connection nor a session.",
                hint="Pass `connectionId` or `sessionId`.",
                field=field,
            )
        connection = await Connections(session, owner).require(connection_id, field=field)
        must_read = connection.read_only or request.read_only is True
        if held is not None and must_read and not held.read_only:
            raise _may_write_error()
        new = request.to_new_script(
            connection,
            self._runner.limits,
            statement_count=len(statements),
            read_only=must_read if held is None else held.read_only,
        )
        scripts = ScriptRuns(session, owner)
        await self._text_quota.check(scripts, more=2 * len(new.script.encode()))  # and its runs
        await scripts.accept(script_id, new, max_active=self._runner.limits.max_active)

    async def _open_session(self, row: ScriptRunRow, key: str | None) -> ScriptRunRow:
        """Deletes the script if no session can be opened: the call may be repeated with its key."""
        assert row.connection_id is not None  # noqa: S101 - it was inserted with one
        limits = self._sessions.limits
        request = OpenRequest(
            row.connection_id,
            read_only=row.read_only,
            idle_timeout_ms=min(OWN_SESSION_IDLE_MS, limits.max_idle_ms),
            transaction_timeout_ms=limits.max_transaction_ms,
            for_script=True,
        )
        try:
            held = await self._sessions.open(row.owner_id, request)
        except Exception:
            await self._discard(row, key)
            raise
        return await self._attach(row, held)

    async def _attach(self, row: ScriptRunRow, held: DatabaseSessionRow) -> ScriptRunRow:
        def attach(session: Session) -> Awaitable[ScriptRunRow | None]:
            return ScriptRuns(session, row.owner_id).attach(row.id, held.id)

        attached = await _with_retry(row, lambda: self._database.write(attach))
        if attached is None:  # it was cancelled meanwhile
            await self._sessions.close(row.owner_id, held.id)
            return await self._read(row.owner_id, row.id)
        await self._runner.signals.announce(held.id)
        return attached

    async def _discard(self, row: ScriptRunRow, key: str | None) -> None:
        async def discard(session: Session) -> None:
            await ScriptRuns(session, row.owner_id).discard(row.id)
            if key is not None:
                await Idempotency(session, row.owner_id).forget(key)

        await _with_retry(row, lambda: self._database.transaction(discard))

    async def _cancel_statement(self, owner: OwnerId, row: ScriptRunRow) -> None:
        if row.state == ScriptState.CANCELLED:
            if row.owns_session and row.session_id is not None:
                await self._sessions.close(owner, row.session_id)
            return
        async with self._database.read(reserved=True) as session:
            running = await ScriptedRuns(session, owner).running(row.id)
        await asyncio.gather(*(self._runner.cancel(owner, run.id) for run in running))

    async def _read(self, owner: OwnerId, script_id: UUID) -> ScriptRunRow:
        """Raises NotFound or Forbidden if the owner has no such script."""
        async with self._database.read(reserved=True) as session:
            return await ScriptRuns(session, owner).require(script_id)


async def _with_retry(row: ScriptRunRow, work: Callable[[], Awaitable[T]]) -> T:
    """Retries until the database is available again: until then the script stays queued."""
    return await retry(
        work,
        on=(HowdahError,),
        backoff=BACKOFF,
        deadline=asyncio.get_running_loop().time() + SETTLE_S,
        report=lambda error: log.warning(
            "cannot write the session of script %s, will retry: %s", row.id.hex, error
        ),
    )


def _may_write_error() -> Conflict:
    return Conflict(
        "This session is not read-only, but the script has to be.",
        hint="Open another session with `readOnly: true`.",
        field="sessionId",
    )


async def _text_bytes(session: Session, owner: OwnerId) -> int:
    runs = await Runs(session, owner).usage()
    return runs.text_bytes + await ScriptRuns(session, owner).text_bytes()
