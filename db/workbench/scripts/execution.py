"""Executes a script in its session: one run for each statement, each with its own result."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from db.concurrency.waiting import retry_while_away
from db.connections import ConnectionRow
from db.database_sessions import CloseReason
from db.events import EventBus
from db.kit.audit import Actor, acting
from db.kit.base import new_id
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import Failure, NewRun, RunRow, RunState, ScriptedRuns
from db.scripts import QueuedScript, ScriptRuns, ScriptState
from db.workbench.execution.request.run_request import RunLimits, RunRequest
from db.workbench.scripts import script_failures
from db.workbench.scripts.script_failures import INTERNAL, SESSION_ENDED, encode
from db.workbench.scripts.script_steps import ROLLBACK, ScriptSteps, Step
from db.workbench.scripts.script_topics import publish_script
from db.workbench.scripts.splitter import StatementRange
from db.workbench.sessions.work import SessionEnded, begin_statement

if TYPE_CHECKING:  # psycopg is imported with the first session, not at the start
    from db.workbench.sessions.held_session import HeldSession

log = logging.getLogger(__name__)

T = TypeVar("T")
Claim: TypeAlias = Callable[[ScriptRuns[Session]], Awaitable[object]]
"""Changes the row of the script before a statement; returns None if nothing may be executed."""


class ScriptExecution:
    """The execution of one script by the process that holds its session."""

    def __init__(
        self,
        database: Database,
        events: EventBus,
        limits: RunLimits,
        queued: QueuedScript,
        statements: list[StatementRange],
        connection: ConnectionRow,
    ) -> None:
        row = queued.row
        self._database = database
        self._events = events
        self._limits = limits
        self._row = row
        self._actor = msgspec.json.decode(queued.actor, type=Actor)
        self._connection = connection
        self._steps = ScriptSteps(
            queued.script, statements, on_error=row.on_error, transaction=row.transaction
        )
        self._first: RunRow | None = None
        self._last: RunRow | None = None
        self._message_chars = 0

    async def begin(self, held: "HeldSession") -> bool:
        """Starts the script with its first statement. Returns False if it was cancelled.

        Raises:
            SessionEnded: Nothing may be sent in the session any more.
        """
        step = self._steps.next_step()
        assert step is not None  # noqa: S101 - a script has a statement

        async def claim(scripts: ScriptRuns[Session]) -> object:
            return await scripts.start(self._row.id)

        self._first = await self._start(held, step, claim)
        if self._first is not None:
            await publish_script(self._events, self._row.id)
        return self._first is not None

    async def run(self, held: "HeldSession") -> None:
        """Executes the statements to the end of the script, and records how it ended."""
        try:
            await self._execute(held)
        except SessionEnded:
            log.info("script %s lost its session", self._row.id.hex)
        except Exception:  # any error: the script must reach a terminal state
            log.exception("script %s failed with an internal error", self._row.id.hex)
            self._steps.failure = INTERNAL
            held.cut()  # its transaction may have changes of the script that nobody knows of
        await self._finish(held)
        if self._row.owns_session:
            held.close(CloseReason.CLIENT)

    async def _execute(self, held: "HeldSession") -> None:
        step, run = self._steps.next_step(), self._first
        while step is not None and run is not None:
            data = None if step.data is None else _pieces(step.data)
            ended = await held.execute(run, data, begins=step.begins, prelude=step.prelude)
            self._last = ended
            self._steps.record(step, ended)
            self._message_chars += len(ended.notices) + len(ended.error or "")
            if self._message_chars > script_failures.MAX_MESSAGE_CHARS:
                self._steps.failure = self._steps.failure or script_failures.TOO_MANY_MESSAGES
            if ended.state == RunState.CANCELLED and await self._is_cancelled():
                self._steps.is_cancelled = True
            if held.closing is not None:
                return
            step, run = await self._start_next(held)

    async def _start_next(self, held: "HeldSession") -> tuple[Step | None, RunRow | None]:
        while (step := self._steps.next_step()) is not None:
            run = await self._start(held, step, self._claim_of(step))
            if run is not None:
                await publish_script(self._events, self._row.id)
                return step, run
            self._steps.is_cancelled = True
        return None, None

    def _claim_of(self, step: Step) -> Claim:
        """The ROLLBACK of a script that was cancelled is executed all the same."""

        async def claim(scripts: ScriptRuns[Session]) -> object:
            if step.at is None and step.statement == ROLLBACK:
                return step
            return await scripts.advance(self._row.id, self._steps.progress_at(step))

        return claim

    async def _start(self, held: "HeldSession", step: Step, claim: Claim) -> RunRow | None:
        """Inserts the run of a step, which is sent then. Returns None if the claim fails.

        If the connection is lost during a commit, the run is searched for before it is tried again:
        two runs of a statement must not be running.
        """
        owner, run_id, tries = self._row.owner_id, new_id(), 0

        async def start(session: Session) -> RunRow:
            nonlocal tries
            tries += 1
            runs = ScriptedRuns(session, owner)
            if tries > 1 and (found := await runs.get(run_id)) is not None:
                if found.state != RunState.RUNNING:
                    raise SessionEnded
                return found
            await begin_statement(session, held)
            if await claim(ScriptRuns(session, owner)) is None:
                raise _CancelledError
            with acting(self._actor):
                new = self._new_run(held, step)
            return await runs.start(run_id, new, process=held.row.process, backend=held.backend)

        try:
            return await self._with_retry(lambda: self._database.transaction(start))
        except _CancelledError:
            return None

    def _new_run(self, held: "HeldSession", step: Step) -> NewRun:
        row, at = self._row, step.at
        new = RunRequest(
            self._connection.id,
            step.statement,
            timeout_ms=row.timeout_ms,
            max_rows=row.max_rows,
            max_bytes=row.max_bytes,
            read_only=held.row.read_only,
            session_id=held.row.id,
        ).to_new_run(self._connection, self._limits)
        new = new._replace(read_only=held.row.read_only, script_id=row.id)
        if at is None:
            return new
        return new._replace(
            script_index=at.index,
            statement_start=at.start,
            statement_end=at.end,
            statement_line=at.line,
            statement_column=at.column,
        )

    async def _is_cancelled(self) -> bool:
        async def read() -> bool:
            async with self._database.read() as session:
                row = await ScriptRuns(session, self._row.owner_id).get(self._row.id)
            return row is None or row.is_finished or row.cancel_requested_at is not None

        return await self._with_retry(read)

    async def _finish(self, held: "HeldSession") -> None:
        state, failure = self._outcome(held)

        async def write(session: Session) -> object:
            return await ScriptRuns(session, self._row.owner_id).finish(
                self._row.id,
                state,
                self._steps.progress,
                error=encode(failure),
                keep=self._limits.retention,
            )

        await self._with_retry(lambda: self._database.write(write))
        await publish_script(self._events, self._row.id)

    def _outcome(self, held: "HeldSession") -> tuple[ScriptState, Failure | None]:
        steps, last = self._steps, self._last
        by_client = held.closing is CloseReason.CLIENT
        if steps.is_cancelled or (
            by_client and last is not None and last.state == RunState.CANCELLED
        ):
            return ScriptState.CANCELLED, None
        if last is not None and last.state == RunState.INTERRUPTED:
            return ScriptState.INTERRUPTED, steps.failure or SESSION_ENDED
        if steps.failure is None and steps.next_step() is not None:
            if by_client:
                return ScriptState.CANCELLED, None
            return ScriptState.INTERRUPTED, SESSION_ENDED
        return steps.state, steps.failure

    async def _with_retry(self, work: Callable[[], Awaitable[T]]) -> T:
        return await retry_while_away(work, log, f"write the state of script {self._row.id.hex}")


class _CancelledError(Exception):
    """Undoes the transaction: the script was cancelled, or ended by another process."""


async def _pieces(data: str) -> AsyncGenerator[bytes]:
    yield data.encode()
