"""Executes the statement of one run on its database, and stops it on request or timeout."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from db.runs import Backend, CancelOutcome, Column, Ending, Failure, RunState, ServerNotice
from db.workbench.copy.copy_in import CopyInput
from db.workbench.execution.reading import protocol
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.reading.result_reader import ResultReader
from db.workbench.execution.run_failures import timed_out
from db.workbench.execution.statement.batch import BatchContext
from db.workbench.execution.statement.connection_use import ConnectionUse
from db.workbench.execution.statement.lender import Lender
from db.workbench.execution.statement.run_ending import apply_stop, check_stored, ending_of
from db.workbench.execution.statement.statement_stop import StatementStop
from db.workbench.results.spool import Spool

TIMEOUT_GRACE_S = 0.3
"""Added to the statement timeout, so that the database's own `statement_timeout` fires first."""


class StatementRun:
    """Executes one statement. `stop` may be called from any task and ends it within two seconds."""

    def __init__(
        self,
        use: ConnectionUse,
        lender: Lender,
        spool: Spool,
        throttle: ReadThrottle,
        *,
        max_cell: int,
    ) -> None:
        self._run = run = use.run
        self._use = use
        self._spool = spool
        self._throttle = throttle
        self._stopped = asyncio.Event()
        self._statement_stop = StatementStop(use, lender)
        self._reader = ResultReader(
            spool,
            max_rows=run.max_rows,
            max_bytes=run.max_bytes,
            max_cell=max_cell,
            stop_early=self._statement_stop.stop_early,
            throttle=throttle,
            copy_in=CopyInput(use.copy_in, self._stopped, self._statement_stop.has_failed),
        )
        self._timeout_s = run.timeout_ms / 1000
        self._stop_state = ""
        self._stop_error: Failure | None = None

    @property
    def columns(self) -> list[Column] | None:
        return self._reader.columns

    def follow_notices(self, changed: Callable[[Sequence[ServerNotice]], None]) -> None:
        """Calls `changed` with all notices so far when the server has sent one."""
        self._reader.notices_changed = changed

    def stop(self, state: str, error: Failure | None = None) -> None:
        """Ends the run as CANCELLED, TIMED_OUT or INTERRUPTED. Only the first call counts.

        `error` replaces the error that a run with this state has.
        """
        if not self._stop_state:
            self._stop_state, self._stop_error = state, error
            self._stopped.set()

    async def run(
        self,
        started: Callable[[Backend], Awaitable[None]],
        ended: Callable[[Ending], Awaitable[bool]],
    ) -> None:
        """Awaits `ended`, which records the end, before it returns the connection.

        Closes the connection unless `ended` returns True: another process that has ended the run
        may terminate its backend at any later time, and must not hit another run.
        Awaits `started` before it sends the statement, if the use asks for it.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            self._run.timeout_ms / 1000 + TIMEOUT_GRACE_S, self.stop, RunState.TIMED_OUT
        )
        try:
            async with self._use.held(), contextlib.AsyncExitStack() as lent:
                is_recorded = False
                try:
                    ending = await self._execute(lent, started)
                    is_recorded = await ended(await self._store_rows(ending))
                finally:
                    if not is_recorded:
                        self._statement_stop.close_connection()
        finally:
            timer.cancel()

    async def _execute(
        self, lent: contextlib.AsyncExitStack, started: Callable[[Backend], Awaitable[None]]
    ) -> Ending:
        if (refusal := self._use.reject()) is not None:
            return Ending(state=RunState.FAILED, error=refusal)
        work = asyncio.create_task(self._run_statement(lent, started), name="runs: statement")
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._statement_stop.stop(work)
        finally:
            stopped.cancel()
            work.cancel()
            await asyncio.wait({work})
        usable = await self._statement_stop.settle() and await self._statement_stop.restore()
        return self._final_ending(work, usable=usable)

    async def _store_rows(self, ending: Ending) -> Ending:
        """Flushes the spool. A run succeeds only after its last page is stored."""
        has_rows = ending.state == RunState.SUCCEEDED or ending.keeps_rows
        if has_rows:
            ending.rows = self._spool.take_inline()
        if has_rows and ending.rows is None:
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
        run, use = self._run, self._use
        until = asyncio.get_running_loop().time() + run.timeout_ms / 1000
        connection = await lent.enter_async_context(use.lend())
        self._statement_stop.connection = connection
        lent.callback(connection.remove_notice_handler, self._reader.add_notice)
        connection.add_notice_handler(self._reader.add_notice)
        self._reader.notices += await use.notices(connection)
        self._statement_stop.backend = backend = await use.prepare(connection, until=until)
        self._timeout_s = until - asyncio.get_running_loop().time()
        if use.records_backend:
            await started(backend)
        if use.batch is not None:
            return await use.batch.execute(connection, self._batch_context())
        ending = await self._reader.read(connection, use.statement, run.parsed_parameters)
        if ending.state == RunState.SUCCEEDED:
            if not use.keeps_state:
                self._reader.add_notice_of_lost_state(run.statement, ending.command)
            await self._reader.describe_columns(connection, use.frame(connection))
            if not self._statement_stop.cancel_sent:
                await use.complete(connection)
        return ending

    def _batch_context(self) -> BatchContext:
        def is_stopped() -> bool:
            return bool(self._stop_state)

        self._reader.sent_at = asyncio.get_running_loop().time()
        return BatchContext(self._reader, self._spool, self._throttle, is_stopped)

    def _final_ending(self, work: "asyncio.Task[Ending]", *, usable: bool) -> Ending:
        """Combines the result of `work` with the reason for which the run was stopped, if any."""
        run, reader = self._run, self._reader
        ending = ending_of(work, was_sent=reader.sent_at is not None, fatal=reader.fatal)
        ending.columns = reader.columns
        ending.notices = [*reader.notices, *self._use.late_notices()]
        stopped = apply_stop(
            ending, self._stop_state, timeout_ms=run.timeout_ms, error=self._stop_error
        )
        if not stopped and ending.state == RunState.FAILED and self._was_timed_out(ending):
            ending.state, ending.error = RunState.TIMED_OUT, timed_out(run.timeout_ms)
        if ending.state == RunState.CANCELLED:
            terminated = self._statement_stop.terminated
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
