"""One run on a connection to its target: sent, read, and ended in time, whatever it does."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

import msgspec
import psycopg

from db.errors import HowdahError
from db.kit.base import OwnerId
from db.runs import (
    CANCELLED,
    FAILED,
    INTERRUPTED,
    SUCCEEDED,
    TIMED_OUT,
    Column,
    Ending,
    Failure,
    OrphanRow,
    RunRow,
)
from db.workbench.connections.libpq import Connection, cut_after
from db.workbench.execution import protocol
from db.workbench.execution.outcomes import (
    EMPTY,
    INTERRUPTION,
    LOST,
    TRANSACTION_CONTROL,
    UNSTORED_IN_TIME,
    connection_deleted,
    refused,
    timed_out,
    unstored,
)
from db.workbench.execution.read_throttle import Pace
from db.workbench.execution.reading import Reader
from db.workbench.execution.sql_text import controls_transaction, is_empty
from db.workbench.results.result_store import Spool
from db.workbench.results.values import parameter

PATIENCE_S = 0.3
"""How much longer than its time a statement gets: the server is to end it by its own clock."""
ASKING_S = 0.9
"""How long a statement is asked to end, before its backend is made to."""
ASK_AGAIN_S = 0.25
FORCING_S = 0.5
SETTLING_S = 0.5
CANCEL_S = 0.5

_BEGIN = "BEGIN READ ONLY"
_PRELUDE = """
    SELECT set_config('statement_timeout', %s, false),
           (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid())"""
_TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = %s AND backend_start::text = %s"""
_HAS_WRITTEN = """
    SELECT backend_xid IS NOT NULL FROM pg_stat_activity
    WHERE pid = %s AND backend_start::text = %s"""


class Lender(Protocol):
    """Where connections to the users' databases come from."""

    def lend(
        self, owner: OwnerId, connection_id: UUID
    ) -> contextlib.AbstractAsyncContextManager[Connection]: ...

    def spare(
        self, owner: OwnerId, connection_id: UUID
    ) -> contextlib.AbstractAsyncContextManager[Connection]:
        """One beside the pool, for a moment: there is always room for it."""


class Backend(msgspec.Struct, frozen=True):
    """A process of the target, by what makes it that one and no later one of its number."""

    pid: int
    started_at: str


class Execution:
    """Runs one statement; `stop` ends it, from any other task, within two seconds."""

    def __init__(
        self, run: RunRow, lender: Lender, spool: Spool, pace: Pace, *, longest_cell: int
    ) -> None:
        self._run = run
        self._lender = lender
        self._spool = spool
        self._reader = Reader(
            spool,
            max_rows=run.max_rows,
            max_bytes=run.max_bytes,
            longest_cell=longest_cell,
            stop_early=self._stop_early,
            pace=pace,
        )
        self._connection: Connection | None = None
        self._backend: Backend | None = None
        self._stopped = asyncio.Event()
        self._allowed_s = run.timeout_ms / 1000
        self._why = ""
        self._was_asked = False
        self._may_come_late = False
        self._forced = False

    @property
    def columns(self) -> list[Column] | None:
        return self._reader.columns

    def stop(self, why: str) -> None:
        """To CANCELLED, TIMED_OUT or INTERRUPTED; the first to ask is heard."""
        if not self._why:
            self._why = why
            self._stopped.set()

    async def conduct(
        self,
        started: Callable[[Backend], Awaitable[None]],
        ended: Callable[[Ending], Awaitable[None]],
    ) -> None:
        """From connecting to the end, which is told before the connection goes back."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._run.timeout_ms / 1000 + PATIENCE_S, self.stop, TIMED_OUT)
        try:
            async with contextlib.AsyncExitStack() as lent:
                await ended(await self._stored(await self._outcome(lent, started)))
        finally:
            timer.cancel()

    async def _outcome(
        self, lent: contextlib.AsyncExitStack, started: Callable[[Backend], Awaitable[None]]
    ) -> Ending:
        if (refusal := _unfit(self._run.statement)) is not None:
            return Ending(state=FAILED, error=refusal)
        work = asyncio.create_task(self._work(lent, started), name="runs: statement")
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._end(work)
        finally:
            stopped.cancel()
            work.cancel()
            await asyncio.wait({work})
        usable = await self._settle()
        return self._judged(work, usable=usable)

    async def _stored(self, ending: Ending) -> Ending:
        """The ending once the rows are where it says they are, or it is no success."""
        if ending.state == SUCCEEDED:
            storing = asyncio.create_task(self._spool.close(), name="runs: last page")
            stopped = asyncio.create_task(self._stopped.wait())
            try:
                await asyncio.wait({storing, stopped}, return_when=asyncio.FIRST_COMPLETED)
                _unless_stored(ending, storing, self._why)
            finally:
                stopped.cancel()
                storing.cancel()
        if ending.state != SUCCEEDED:
            await self._spool.abandon()
        return ending

    async def _work(
        self, lent: contextlib.AsyncExitStack, started: Callable[[Backend], Awaitable[None]]
    ) -> Ending:
        run = self._run
        if run.connection_id is None:
            raise connection_deleted()
        began = asyncio.get_running_loop().time()
        connection = await lent.enter_async_context(
            self._lender.lend(run.owner_id, run.connection_id)
        )
        self._connection = connection
        lent.callback(connection.remove_notice_handler, self._reader.note)
        connection.add_notice_handler(self._reader.note)
        left_ms = run.timeout_ms - (asyncio.get_running_loop().time() - began) * 1000
        self._allowed_s = left_ms / 1000
        await self._prepare(connection, left_ms)
        assert self._backend is not None  # noqa: S101 - `_prepare` has learnt it
        await started(self._backend)
        parameters = [parameter(value) for value in run.opened_parameters]
        ending = await self._reader.read(connection, run.statement, parameters)
        if ending.state == SUCCEEDED:
            await self._reader.describe_columns(connection)
            if run.read_only and not self._was_asked:
                await connection.execute("ROLLBACK")  # some writes pass as reads: lo_create
        return ending

    async def _prepare(self, connection: Connection, left_ms: float) -> None:
        """The first query of a read-only transaction: from then on it cannot become another."""
        if self._run.read_only:
            await connection.execute(_BEGIN)
        found = await connection.execute(_PRELUDE, (str(max(1, round(left_ms))),))
        row = await found.fetchone()
        self._backend = Backend(connection.pgconn.backend_pid, str(row[1]) if row else "")

    async def _end(self, work: "asyncio.Task[Ending]") -> None:
        """Asks the statement to end, then makes its backend end, then leaves it."""
        if self._connection is None:
            work.cancel()
            await asyncio.wait({work}, timeout=ASKING_S)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + ASKING_S
        while not work.done() and loop.time() < until:
            await self._ask(self._connection)
            await asyncio.wait({work}, timeout=ASK_AGAIN_S)
        if work.done():
            return
        self._forced = True
        await self._force()
        with cut_after(self._connection, 0):
            await asyncio.wait({work}, timeout=SETTLING_S)

    async def _ask(self, connection: Connection) -> None:
        self._was_asked = True
        try:
            await connection.cancel_safe(timeout=CANCEL_S)
        except psycopg.Error:
            self._may_come_late = True

    async def _force(self) -> None:
        """By another connection, and never a backend that came after ours."""
        with contextlib.suppress(TimeoutError, HowdahError, psycopg.Error):
            async with asyncio.timeout(FORCING_S):
                await self._beside(_TERMINATE)

    async def _stop_early(self, connection: Connection) -> bool:
        """Ends a statement whose further rows nobody keeps, unless that would undo what it did."""
        with contextlib.suppress(TimeoutError, HowdahError, psycopg.Error):
            async with asyncio.timeout(CANCEL_S):
                if self._run.read_only or await self._beside(_HAS_WRITTEN) is False:
                    await self._ask(connection)
                    return True
        return False

    async def _beside(self, query: str) -> object:
        run, backend = self._run, self._backend
        if run.connection_id is None or backend is None:
            return None
        async with self._lender.spare(run.owner_id, run.connection_id) as other:
            found = await other.execute(query, (backend.pid, backend.started_at))
            row = await found.fetchone()
        return row[0] if row else None

    async def _settle(self) -> bool:
        """Whether the connection is as good as new. A cancel that comes late finds it idle."""
        connection = self._connection
        if connection is None:
            return True
        if protocol.is_busy(connection):  # nobody reads on: what it does is to end too
            await self._ask(connection)
            self._may_come_late = True
        if self._forced or self._may_come_late:
            connection.pgconn.finish()
        if connection.closed:
            return False
        if not self._was_asked:
            return True
        with cut_after(connection, SETTLING_S):
            return await _is_quiet(connection)

    def _judged(self, work: "asyncio.Task[Ending]", *, usable: bool) -> Ending:
        """What `work` came to, seen with what we asked of it."""
        ending = self._result(work)
        ending.columns = self._reader.columns
        ending.notices = self._reader.notices
        if ending.state != SUCCEEDED and self._why and self._was_stopped(ending):
            ending.state = self._why
            ending.error = self._reason()
        elif ending.state == FAILED and self._ran_out(ending):
            ending.state, ending.error = TIMED_OUT, timed_out(self._run.timeout_ms)
        if ending.state == CANCELLED:
            ending.cancel_outcome = "TERMINATED" if self._forced else CANCELLED
        ending.connection_usable = usable
        return ending

    def _result(self, work: "asyncio.Task[Ending]") -> Ending:
        if work.cancelled():
            return Ending(state=FAILED, error=LOST)
        match work.exception():
            case None:
                return work.result()
            case HowdahError() as error:
                if self._reader.sent_at is None:
                    return Ending(state=FAILED, error=refused(error))
                return Ending(state=FAILED, error=unstored(error), without_rows=True)
            case psycopg.errors.QueryCanceled():
                return Ending(state=FAILED, error=Failure(message="", sqlstate="57014"))
            case psycopg.Error():
                return Ending(state=FAILED, error=LOST)
            case BaseException() as error:
                raise error

    def _was_stopped(self, ending: Ending) -> bool:
        """A failure of its own, at the same moment, stays what it is."""
        error = ending.error
        return error is None or error.sqlstate in {None, protocol.CANCELLED_SQLSTATE, "57P01"}

    def _ran_out(self, ending: Ending) -> bool:
        """Whether it was the server's clock that ended it, and no other session's cancel."""
        error, sent_at = ending.error, self._reader.sent_at
        if error is None or error.sqlstate != protocol.CANCELLED_SQLSTATE or sent_at is None:
            return False
        return asyncio.get_running_loop().time() - sent_at >= self._allowed_s

    def _reason(self) -> Failure | None:
        if self._why == TIMED_OUT:
            return timed_out(self._run.timeout_ms)
        return INTERRUPTION if self._why == INTERRUPTED else None


def _unless_stored(ending: Ending, storing: "asyncio.Task[None]", why: str) -> None:
    """A store that hangs may take no longer than the run; what the statement has done stays."""
    if not storing.done():
        ending.state, ending.error = (FAILED if why == TIMED_OUT else why), UNSTORED_IN_TIME
        ending.without_rows = ending.state == FAILED
    elif isinstance(error := storing.exception(), HowdahError):
        ending.state, ending.error, ending.without_rows = FAILED, unstored(error), True
    else:
        storing.result()
    if ending.state == CANCELLED:
        ending.cancel_outcome = CANCELLED


def _unfit(statement: str) -> Failure | None:
    """What cannot work is not even sent."""
    if is_empty(statement):
        return EMPTY
    return TRANSACTION_CONTROL if controls_transaction(statement) else None


async def end_backend(lender: Lender, orphan: OrphanRow) -> None:
    """Ends the statement that a process has left behind, if it still runs."""
    if orphan.connection_id is None or orphan.backend_pid is None:
        return
    async with lender.spare(orphan.owner_id, orphan.connection_id) as connection:
        with cut_after(connection, SETTLING_S):
            await connection.execute(_TERMINATE, (orphan.backend_pid, orphan.backend_started_at))


async def _is_quiet(connection: Connection) -> bool:
    """After one answer every cancel that was sent before has met an idle server, or this query."""
    for _ in range(2):
        try:
            if not protocol.is_idle(connection):
                await connection.execute("ROLLBACK")
            await connection.execute("SELECT 1")
        except psycopg.errors.QueryCanceled:
            continue
        except psycopg.Error:
            return False
        return True
    connection.pgconn.finish()
    return False
