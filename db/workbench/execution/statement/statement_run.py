"""Executes the statement of one run on its database, and stops it on request or timeout."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import psycopg

from db.errors import HowdahError
from db.runs import (
    Backend,
    CancelOutcome,
    Column,
    Ending,
    Failure,
    RunRow,
    RunState,
)
from db.workbench.connections.bounds.read_budget import RowTooLarge, TooManySettings
from db.workbench.connections.libpq import Connection, abort_after, command
from db.workbench.connections.pools.connection_pool import ReservedConnection
from db.workbench.execution.statement import protocol
from db.workbench.execution.statement.lender import TERMINATE, Lender
from db.workbench.execution.statement.read_only_notice import read_only_notice
from db.workbench.execution.statement.read_throttle import ReadThrottle
from db.workbench.execution.statement.result_reader import ResultReader
from db.workbench.execution.statement.run_failures import (
    CONNECTION_LOST,
    EMPTY_STATEMENT,
    NOT_STORED_IN_TIME,
    SERVER_STOPPED,
    TOO_MANY_SETTINGS,
    TRANSACTION_CONTROL,
    connection_deleted,
    not_sent,
    not_stored,
    row_too_large,
    timed_out,
)
from db.workbench.execution.statement.sql_text import controls_transaction, is_empty
from db.workbench.results.result_store import Spool
from db.workbench.results.value_conversion import encode_parameter

TIMEOUT_GRACE_S = 0.3
"""Added to the statement timeout, so that the database's own `statement_timeout` fires first."""
CANCEL_PHASE_S = 0.8
"""How long cancel requests are repeated before the backend is terminated."""
CANCEL_RETRY_S = 0.25
TERMINATE_S = 0.5
SETTLE_S = 0.5
CANCEL_S = 0.5

_BEGIN = "BEGIN READ ONLY"
_SET_TIMEOUT = "SELECT set_config('statement_timeout', '{}', false)"
_SETUP = """
    SELECT set_config('statement_timeout', %s, false),
           (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid())"""
_HAS_WRITTEN = """
    SELECT backend_xid IS NOT NULL FROM pg_stat_activity
    WHERE pid = %s AND backend_start::text = %s"""


class StatementRun:
    """Executes one statement. `stop` may be called from any task and ends it within two seconds."""

    def __init__(
        self,
        run: RunRow,
        lender: Lender,
        spool: Spool,
        throttle: ReadThrottle,
        *,
        max_cell: int,
        reserved: ReservedConnection | None = None,
    ) -> None:
        """`reserved` is the connection to use if its backend was recorded with the run."""
        self._run = run
        self._lender = lender
        self._reserved = reserved
        self._spool = spool
        self._reader = ResultReader(
            spool,
            max_rows=run.max_rows,
            max_bytes=run.max_bytes,
            max_cell=max_cell,
            stop_early=self._stop_early,
            throttle=throttle,
        )
        self._connection: Connection | None = None
        self._backend: Backend | None = None
        self._stopped = asyncio.Event()
        self._timeout_s = run.timeout_ms / 1000
        self._stop_state = ""
        self._cancel_sent = False
        self._cancel_may_arrive_late = False
        self._terminated = False

    @property
    def columns(self) -> list[Column] | None:
        return self._reader.columns

    def stop(self, state: str) -> None:
        """Ends the run as CANCELLED, TIMED_OUT or INTERRUPTED. Only the first call counts."""
        if not self._stop_state:
            self._stop_state = state
            self._stopped.set()

    async def run(
        self,
        started: Callable[[Backend], Awaitable[None]],
        ended: Callable[[Ending], Awaitable[None]],
    ) -> None:
        """Awaits `ended` before it returns the connection.

        Awaits `started` before it sends the statement, if the backend was not recorded before.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            self._run.timeout_ms / 1000 + TIMEOUT_GRACE_S, self.stop, RunState.TIMED_OUT
        )
        try:
            async with contextlib.AsyncExitStack() as lent:
                if self._reserved is not None:
                    await lent.enter_async_context(self._reserved)
                await ended(await self._store_rows(await self._execute(lent, started)))
        finally:
            timer.cancel()

    async def _execute(
        self, lent: contextlib.AsyncExitStack, started: Callable[[Backend], Awaitable[None]]
    ) -> Ending:
        if (refusal := _reject(self._run.statement)) is not None:
            return Ending(state=RunState.FAILED, error=refusal)
        work = asyncio.create_task(self._run_statement(lent, started), name="runs: statement")
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._stop_statement(work)
        finally:
            stopped.cancel()
            work.cancel()
            await asyncio.wait({work})
        usable = await self._settle()
        return self._final_ending(work, usable=usable)

    async def _store_rows(self, ending: Ending) -> Ending:
        """Flushes the spool. A run succeeds only after its last page is stored."""
        if ending.state == RunState.SUCCEEDED:
            ending.rows = self._spool.take_inline()
        if ending.state == RunState.SUCCEEDED and ending.rows is None:
            storing = asyncio.create_task(self._spool.close(), name="runs: last page")
            stopped = asyncio.create_task(self._stopped.wait())
            try:
                await asyncio.wait({storing, stopped}, return_when=asyncio.FIRST_COMPLETED)
                _check_stored(ending, storing, self._stop_state)
            finally:
                stopped.cancel()
                storing.cancel()
        if ending.state != RunState.SUCCEEDED:
            await self._spool.abandon()
        return ending

    async def _run_statement(
        self, lent: contextlib.AsyncExitStack, started: Callable[[Backend], Awaitable[None]]
    ) -> Ending:
        run = self._run
        if run.connection_id is None:
            raise connection_deleted()
        began = asyncio.get_running_loop().time()
        if self._reserved is None:
            borrowed = self._lender.lend(run.owner_id, run.connection_id)
            connection = await lent.enter_async_context(borrowed)
        else:
            connection = self._reserved.connection
        self._connection = connection
        lent.callback(connection.remove_notice_handler, self._reader.add_notice)
        connection.add_notice_handler(self._reader.add_notice)
        if run.read_only and (notice := await read_only_notice(connection)) is not None:
            self._reader.notices.append(notice)
        left_ms = run.timeout_ms - (asyncio.get_running_loop().time() - began) * 1000
        self._timeout_s = left_ms / 1000
        backend = await self._prepare(connection, left_ms)
        if self._reserved is None:
            await started(backend)
        parameters = [encode_parameter(value) for value in run.parsed_parameters]
        ending = await self._reader.read(connection, run.statement, parameters)
        if ending.state == RunState.SUCCEEDED:
            await self._reader.describe_columns(connection)
            if run.read_only and not self._cancel_sent:
                await command(
                    connection, "ROLLBACK"
                )  # read-only transactions still allow lo_create
        return ending

    async def _prepare(self, connection: Connection, left_ms: float) -> Backend:
        """Sets the timeout and learns the backend.

        PostgreSQL refuses SET TRANSACTION READ WRITE after the first query of a transaction, so
        this query also fixes a read-only transaction as read-only.
        """
        if self._run.read_only:
            await command(connection, _BEGIN)
        timeout_ms = max(1, round(left_ms))
        if connection.backend is None:
            row = await (await connection.execute(_SETUP, (str(timeout_ms),))).fetchone()
            started_at = str(row[1]) if row else ""
            connection.backend = Backend(connection.pgconn.backend_pid, started_at)
        else:
            await command(connection, _SET_TIMEOUT.format(timeout_ms))
        self._backend = connection.backend
        return self._backend

    async def _stop_statement(self, work: "asyncio.Task[Ending]") -> None:
        """Sends cancel requests, then terminates the backend, then abandons the connection."""
        if self._connection is None:
            work.cancel()
            await asyncio.wait({work}, timeout=CANCEL_PHASE_S)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + CANCEL_PHASE_S
        while not work.done() and (left_s := until - loop.time()) > 0:
            # A server that does not answer cancel requests must not extend the phase.
            await self._send_cancel(self._connection, within_s=min(CANCEL_S, left_s))
            left_s = max(0.0, until - loop.time())
            await asyncio.wait({work}, timeout=min(CANCEL_RETRY_S, left_s))
        if work.done():
            return
        self._terminated = True
        await self._terminate_backend()
        if self._connection.awaits_slot:
            return  # it does not read, so that it would not notice the end
        with abort_after(self._connection, 0):
            await asyncio.wait({work}, timeout=SETTLE_S)

    async def _send_cancel(self, connection: Connection, within_s: float = CANCEL_S) -> None:
        self._cancel_sent = True
        try:
            await connection.cancel_safe(timeout=within_s)
        except psycopg.Error:
            self._cancel_may_arrive_late = True

    async def _terminate_backend(self) -> None:
        """Uses a side connection, and matches the start time: the PID may have been reused."""
        with contextlib.suppress(TimeoutError, HowdahError, psycopg.Error):
            async with asyncio.timeout(TERMINATE_S):
                await self._query_backend(TERMINATE)

    async def _stop_early(self, connection: Connection) -> bool:
        """Cancels a statement that has met a row or byte limit, unless that would roll back writes.

        Returns:
            Whether a cancel request was sent.
        """
        with contextlib.suppress(TimeoutError, HowdahError, psycopg.Error):
            async with asyncio.timeout(CANCEL_S):
                if self._run.read_only or await self._query_backend(_HAS_WRITTEN) is False:
                    await self._send_cancel(connection)
                    return True
        return False

    async def _query_backend(self, query: str) -> object:
        run, backend = self._run, self._backend
        if run.connection_id is None or backend is None:
            return None
        async with self._lender.side_connection(run.owner_id, run.connection_id) as other:
            found = await other.execute(query, (backend.pid, backend.started_at))
            row = await found.fetchone()
        return row[0] if row else None

    async def _settle(self) -> bool:
        """Makes sure that no late cancel request can hit the next statement of the connection.

        Returns:
            Whether the connection can be reused.
        """
        connection = self._connection
        if connection is None:
            return True
        if protocol.is_busy(connection):  # reading was aborted, the statement still runs
            await self._send_cancel(connection)
            self._cancel_may_arrive_late = True
        if self._terminated or self._cancel_may_arrive_late:
            connection.finish()
        if connection.closed:
            return False
        if not self._cancel_sent:
            return True
        with abort_after(connection, SETTLE_S):
            return await _drain_cancels(connection)

    def _final_ending(self, work: "asyncio.Task[Ending]", *, usable: bool) -> Ending:
        """Combines the result of `work` with the reason for which the run was stopped, if any."""
        ending = self._result_of(work)
        ending.columns = self._reader.columns
        ending.notices = self._reader.notices
        if ending.state != RunState.SUCCEEDED and self._stop_state and self._was_stopped(ending):
            ending.state = self._stop_state
            ending.error = self._reason()
        elif ending.state == RunState.FAILED and self._was_timed_out(ending):
            ending.state, ending.error = RunState.TIMED_OUT, timed_out(self._run.timeout_ms)
        if ending.state == RunState.CANCELLED:
            ending.cancel_outcome = (
                CancelOutcome.TERMINATED if self._terminated else CancelOutcome.CANCELLED
            )
        ending.connection_usable = usable
        return ending

    def _result_of(self, work: "asyncio.Task[Ending]") -> Ending:
        if work.cancelled():
            return Ending(state=RunState.FAILED, error=CONNECTION_LOST)
        match work.exception():
            case None:
                return work.result()
            case HowdahError() as error:
                if self._reader.sent_at is None:
                    return Ending(state=RunState.FAILED, error=not_sent(error))
                return Ending(state=RunState.FAILED, error=not_stored(error), without_rows=True)
            case psycopg.errors.QueryCanceled():
                return Ending(state=RunState.FAILED, error=Failure(message="", sqlstate="57014"))
            case psycopg.Error() as error:
                return _lost(error)
            case BaseException() as error:
                raise error

    def _was_stopped(self, ending: Ending) -> bool:
        """Whether the error comes from a stop, and not from the statement itself."""
        error = ending.error
        if error is None:
            return True
        return error.code is None and error.sqlstate in {None, protocol.CANCELLED_SQLSTATE, "57P01"}

    def _was_timed_out(self, ending: Ending) -> bool:
        """Distinguishes a `statement_timeout` from a cancel request: both are SQLSTATE 57014."""
        error, sent_at = ending.error, self._reader.sent_at
        if error is None or error.sqlstate != protocol.CANCELLED_SQLSTATE or sent_at is None:
            return False
        return asyncio.get_running_loop().time() - sent_at >= self._timeout_s

    def _reason(self) -> Failure | None:
        if self._stop_state == RunState.TIMED_OUT:
            return timed_out(self._run.timeout_ms)
        return SERVER_STOPPED if self._stop_state == RunState.INTERRUPTED else None


def _lost(error: psycopg.Error) -> Ending:
    if isinstance(error, RowTooLarge):
        failure = row_too_large(error.limit)
        return Ending(state=RunState.FAILED, error=failure, without_rows=True)
    lost = TOO_MANY_SETTINGS if isinstance(error, TooManySettings) else CONNECTION_LOST
    return Ending(state=RunState.FAILED, error=lost)


def _check_stored(ending: Ending, storing: "asyncio.Task[None]", stop_state: str) -> None:
    """Ends the run when the store did not finish in time; the statement's changes are committed."""
    if not storing.done():
        stopped = RunState.FAILED if stop_state == RunState.TIMED_OUT else stop_state
        ending.state, ending.error = stopped, NOT_STORED_IN_TIME
        ending.without_rows = ending.state == RunState.FAILED
    elif isinstance(error := storing.exception(), HowdahError):
        ending.state, ending.error, ending.without_rows = RunState.FAILED, not_stored(error), True
    else:
        storing.result()
    if ending.state == RunState.CANCELLED:
        ending.cancel_outcome = CancelOutcome.CANCELLED


def _reject(statement: str) -> Failure | None:
    """Errors that are known before anything is sent."""
    if is_empty(statement):
        return EMPTY_STATEMENT
    return TRANSACTION_CONTROL if controls_transaction(statement) else None


async def _drain_cancels(connection: Connection) -> bool:
    """Waits until earlier cancel requests can hit nothing but these queries.

    Returns:
        Whether the connection answers.
    """
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
    connection.finish()
    return False
