"""Executes the statement of one run on its database, and stops it on request or timeout."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from db.runs import Backend, CancelOutcome, Column, Ending, Failure, RunRow, RunState
from db.workbench.connections.libpq import Connection, command
from db.workbench.connections.pools.connection_pool import ReservedConnection
from db.workbench.copy.copy_failures import COPY_WITHOUT_DATA
from db.workbench.copy.copy_in import CopySource
from db.workbench.execution.statement import protocol
from db.workbench.execution.statement.lender import Lender
from db.workbench.execution.statement.read_only_notice import read_only_notice
from db.workbench.execution.statement.read_throttle import ReadThrottle
from db.workbench.execution.statement.result_reader import ResultReader
from db.workbench.execution.statement.run_ending import apply_stop, check_stored, ending_of
from db.workbench.execution.statement.run_failures import (
    EMPTY_STATEMENT,
    TRANSACTION_CONTROL,
    connection_deleted,
    timed_out,
)
from db.workbench.execution.statement.sql_text import (
    controls_transaction,
    copies_from_client,
    is_empty,
)
from db.workbench.execution.statement.statement_stop import StatementStop
from db.workbench.results.result_store import Spool

TIMEOUT_GRACE_S = 0.3
"""Added to the statement timeout, so that the database's own `statement_timeout` fires first."""

_BEGIN = "BEGIN READ ONLY"
_SET_TIMEOUT = "SELECT set_config('statement_timeout', '{}', false)"
_SETUP = """
    SELECT set_config('statement_timeout', %s, false),
           (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid())"""


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
        copy_in: CopySource | None = None,
        keeps_state: bool = False,
    ) -> None:
        """`reserved` is the connection to use if its backend was recorded with the run.

        `copy_in` is the data if the statement is COPY ... FROM STDIN. `keeps_state` is true if the
        session of the database goes on after the run.
        """
        self._run = run
        self._lender = lender
        self._reserved = reserved
        self._spool = spool
        self._has_data = copy_in is not None
        self._keeps_state = keeps_state
        self._stopped = asyncio.Event()
        self._statement = StatementStop(run, lender)
        self._reader = ResultReader(
            spool,
            max_rows=run.max_rows,
            max_bytes=run.max_bytes,
            max_cell=max_cell,
            stop_early=self._statement.stop_early,
            throttle=throttle,
            stopped=self._stopped,
            copy_in=copy_in,
        )
        self._timeout_s = run.timeout_ms / 1000
        self._stop_state = ""

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
        refusal = _reject(self._run.statement, has_data=self._has_data)
        if refusal is not None:
            return Ending(state=RunState.FAILED, error=refusal)
        work = asyncio.create_task(self._run_statement(lent, started), name="runs: statement")
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._statement.stop(work)
        finally:
            stopped.cancel()
            work.cancel()
            await asyncio.wait({work})
        usable = await self._statement.settle()
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
                check_stored(ending, storing, self._stop_state)
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
        self._statement.connection = connection
        lent.callback(connection.remove_notice_handler, self._reader.add_notice)
        connection.add_notice_handler(self._reader.add_notice)
        if run.read_only and (notice := await read_only_notice(connection)) is not None:
            self._reader.notices.append(notice)
        left_ms = run.timeout_ms - (asyncio.get_running_loop().time() - began) * 1000
        self._timeout_s = left_ms / 1000
        backend = await self._prepare(connection, left_ms)
        if self._reserved is None:
            await started(backend)
        ending = await self._reader.read(connection, run.statement, run.parsed_parameters)
        if ending.state == RunState.SUCCEEDED:
            if not self._keeps_state:
                self._reader.add_notice_of_lost_state(run.statement, ending.command)
            await self._reader.describe_columns(connection)
            if run.read_only and not self._statement.cancel_sent:
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
        self._statement.backend = connection.backend
        return connection.backend

    def _final_ending(self, work: "asyncio.Task[Ending]", *, usable: bool) -> Ending:
        """Combines the result of `work` with the reason for which the run was stopped, if any."""
        run, reader = self._run, self._reader
        ending = ending_of(work, was_sent=reader.sent_at is not None, fatal=reader.fatal)
        ending.columns, ending.notices = reader.columns, reader.notices
        stopped = apply_stop(ending, self._stop_state, timeout_ms=run.timeout_ms)
        if not stopped and ending.state == RunState.FAILED and self._was_timed_out(ending):
            ending.state, ending.error = RunState.TIMED_OUT, timed_out(run.timeout_ms)
        if ending.state == RunState.CANCELLED:
            terminated = self._statement.terminated
            ending.cancel_outcome = (
                CancelOutcome.TERMINATED if terminated else CancelOutcome.CANCELLED
            )
        ending.connection_usable = usable
        return ending

    def _was_timed_out(self, ending: Ending) -> bool:
        """Distinguishes a `statement_timeout` from a cancel request: both are SQLSTATE 57014."""
        error, sent_at = ending.error, self._reader.sent_at
        if error is None or error.sqlstate != protocol.CANCELLED_SQLSTATE or sent_at is None:
            return False
        return asyncio.get_running_loop().time() - sent_at >= self._timeout_s


def _reject(statement: str, *, has_data: bool) -> Failure | None:
    """Errors that are known before anything is sent."""
    if is_empty(statement):
        return EMPTY_STATEMENT
    if not has_data and copies_from_client(statement):
        return COPY_WITHOUT_DATA
    return TRANSACTION_CONTROL if controls_transaction(statement) else None
