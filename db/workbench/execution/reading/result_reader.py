"""Reads the result of a statement within the limits of its run, and spools its rows."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from db.runs import Column, Ending, Failure, RunState, ServerNotice, Truncated, TruncationReason
from db.workbench.connections.libpq import Connection
from db.workbench.copy.copy_failures import UNEXPECTED_COPY
from db.workbench.copy.copy_in import CopyInput, send_data
from db.workbench.copy.copy_out import CopyOutput
from db.workbench.execution.reading import protocol
from db.workbench.execution.reading.client_encoding import (
    changed_encoding,
    notice_of_restored,
    restore_encoding,
    rows_not_readable,
    sends_utf8,
    stores_any_bytes,
)
from db.workbench.execution.reading.column_sources import Frame, describe
from db.workbench.execution.reading.parameters import (
    ArrayType,
    are_ambiguous,
    encode_parameters,
    find_array_types,
)
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.run_failures import (
    CONNECTION_LOST,
    EMPTY_STATEMENT,
    ENDS_CONNECTION,
    NO_GENERIC_PLAN,
    ended_by_server,
    multiple_statements,
)
from db.workbench.results.copied_bytes import COMMAND as COPY
from db.workbench.results.spool import Spool
from db.workbench.results.value_conversion import Row, RowLoader, to_chunk, truncate_cells
from db.workbench.sql.explain_text import is_generic
from db.workbench.sql.sql_text import copy_encoding, second_statement
from db.workbench.sql.statement_effects import (
    expected_command,
    notice_of_lost_state,
)

MAX_NOTICES = 100
CHUNK_BYTES = 1024 * 1024
"""Target size of an encoded chunk: wide rows are encoded one by one."""
GENERIC_PLAN_VERSION = 160000
"""The first version of PostgreSQL with EXPLAIN (GENERIC_PLAN)."""
_COUNTING_COMMANDS = {"INSERT", "UPDATE", "DELETE", "MERGE", COPY}

_CHUNK = int(ExecStatus.TUPLES_CHUNK)
"""The status of each result is a number, which takes longer to compare with an enum."""

StopEarly = Callable[[Connection], Awaitable[bool]]


class ResultReader:
    def __init__(
        self,
        spool: Spool,
        *,
        max_rows: int,
        max_bytes: int,
        max_cell: int,
        stop_early: StopEarly,
        throttle: ReadThrottle,
        copy_in: CopyInput,
    ) -> None:
        """`stop_early` is called once, at a limit; it returns whether it sent a cancel request.

        `copy_in` is the data if the statement is COPY ... FROM STDIN.
        """
        self.columns: list[Column] | None = None
        self.notices: list[ServerNotice] = []
        self.notices_changed: Callable[[Sequence[ServerNotice]], None] | None = None
        self.sent_at: float | None = None
        self.fatal: Failure | None = None
        """The error with which the server has ended the connection."""
        self._origins: list[protocol.Origin] = []
        self._rows = RowLoader()
        self._spool = spool
        self._rows_left = max_rows
        self._bytes_left = max_bytes
        self._limits = {
            TruncationReason.MAX_ROWS: max_rows,
            TruncationReason.MAX_BYTES: max_bytes,
            TruncationReason.MAX_CELL: max_cell,
        }
        self._longest_cell = max_cell
        self._stop_early = stop_early
        self._throttle = throttle
        self._copy_in = copy_in
        self._copy_failure: Failure | None = None
        self._stopping = False
        self._truncated: TruncationReason | None = None
        self._is_full = False
        self._is_ascii = True
        self._restored_encoding = False
        self._rows_per_chunk = 1
        """1 until the width of the rows is known."""

    def add_notice(self, diagnostic: Diagnostic) -> None:
        """An error that arrives before the statement is sent is passed as a notice, too."""
        notice = protocol.notice_of(diagnostic)
        if notice.severity in protocol.FATAL or notice.sqlstate in ENDS_CONNECTION:
            self.fatal = ended_by_server(protocol.failure_of_notice(notice))
        if len(self.notices) < MAX_NOTICES:
            self.notices.append(notice)
            if self.notices_changed is not None:
                self.notices_changed(self.notices)

    def add_notice_of_lost_state(self, statement: str, command: str | None) -> None:
        """Adds a notice to a statement that has succeeded if what it made ends with the run."""
        if self._restored_encoding:
            return
        notice = notice_of_lost_state(
            statement, command, has_columns=self.columns is not None, notices=self.notices
        )
        if notice is not None:
            self.notices.append(notice)

    async def read(
        self, connection: Connection, statement: str, parameters: Sequence[Any]
    ) -> Ending:
        """Sends the statement, reads all results, and sends or reads the data of a COPY."""
        self.sent_at = asyncio.get_running_loop().time()
        ending = Ending(state=RunState.SUCCEEDED)
        await self._send(connection, statement, parameters, ending)
        if ending.state == RunState.FAILED:
            return ending
        while (result := await self._next_result(connection)) is not None:
            if result.status == ExecStatus.COPY_OUT and self.columns is None:
                await self._read_copy(connection, result, ending, statement)
                continue
            if result.status == ExecStatus.COPY_IN and ending.command is None:
                ending.command = COPY
                self._copy_failure = await send_data(connection, self._copy_in, self._throttle)
                continue
            if result.status in protocol.COPY_STATUSES:
                connection.finish()
                return Ending(state=RunState.FAILED, error=UNEXPECTED_COPY)
            await self._handle_result(connection, result, ending, statement)
            result.clear()
        if ending.state == RunState.SUCCEEDED and self._truncated is not None:
            limit = self._limits[self._truncated]
            ending.truncated = Truncated(reason=self._truncated, limit=limit)
            ending.command = ending.command or expected_command(statement)
        await self._check_encoding(connection, ending)
        return ending

    async def _check_encoding(self, connection: Connection, ending: Ending) -> None:
        """Sets the connection back to UTF8, and fails the run if its text was in another one."""
        changed = changed_encoding(connection)
        is_unreadable = self._rows.replaced_bytes and not stores_any_bytes(connection)
        if changed is not None:
            await restore_encoding(connection)
            self._restored_encoding = True
            self.notices.append(notice_of_restored(changed))
            is_unreadable |= not self._is_ascii
        if is_unreadable and ending.state == RunState.SUCCEEDED:
            ending.state, ending.error = RunState.FAILED, rows_not_readable(changed)
            ending.without_rows = True

    async def _read_copy(
        self, connection: Connection, result: PGresult, ending: Ending, statement: str
    ) -> None:
        """Spools the data until a limit, and reads the rest: the statement may change data."""
        is_utf8 = sends_utf8(connection, copy_encoding(statement))
        output = CopyOutput(connection, result, is_utf8=is_utf8)
        self.columns, ending.command = output.columns, COPY
        async for messages in output.messages(self._throttle, lambda: self._rows_per_chunk):
            if not self._is_full:
                await self._spool_rows(connection, output.rows(messages))

    async def _send(
        self, connection: Connection, statement: str, parameters: Sequence[Any], ending: Ending
    ) -> None:
        """Fails the ending, and sends nothing, if the statement is wrong."""
        types: list[ArrayType | None] = []
        has_values = bool(parameters) or not is_generic(statement)
        if not has_values and connection.pgconn.server_version < GENERIC_PLAN_VERSION:
            ending.state, ending.error = RunState.FAILED, NO_GENERIC_PLAN
        elif not has_values or are_ambiguous(parameters):
            oids = await self._parse(connection, statement, ending)
            types = await find_array_types(connection, oids) if has_values else []
        if ending.state == RunState.FAILED:
            return
        if has_values:
            await protocol.send(connection, statement, encode_parameters(parameters, types))
        else:
            await protocol.send_without_values(connection, statement)

    async def _parse(self, connection: Connection, statement: str, ending: Ending) -> list[int]:
        """The types of the parameters. Fails the ending if the statement is wrong."""
        oids: list[int] = []
        async for result in protocol.prepare(connection, statement):
            if result.status == ExecStatus.COMMAND_OK:
                oids = [result.param_type(index) for index in range(result.nparams)]
            else:
                await self._handle_result(connection, result, ending, statement)
        return oids

    async def describe_columns(self, connection: Connection, frame: Frame) -> None:
        """Adds type names and source tables; leaves the columns as they are if the query fails."""
        if self.columns is not None:
            with contextlib.suppress(psycopg.Error):
                self.columns = await describe(connection, self.columns, self._origins, frame)

    async def _next_result(self, connection: Connection) -> PGresult | None:
        """The next result that is not only rows, which are spooled.

        Rows of the results that libpq has buffered are encoded together: a result has few, and
        what is buffered is limited.
        """
        is_busy, get_result = connection.pgconn.is_busy, connection.pgconn.get_result
        throttle, load = self._throttle, self._rows.load_part
        while True:
            rows: list[Row] = []
            result = await protocol.next_result(connection, throttle)
            most = self._rows_per_chunk
            if self.columns is None or self._is_full or most < protocol.CHUNK_ROWS:
                return result
            # The last chunk has the tag of the command if it is not full.
            while (
                result is not None
                and result.status == _CHUNK
                and result.ntuples == protocol.CHUNK_ROWS
            ):
                rows += load(result, 0, protocol.CHUNK_ROWS)
                if len(rows) >= most or is_busy() or throttle.is_over:
                    break
                result = get_result()
            else:
                if rows:
                    await self._spool_rows(connection, rows)
                return result
            await self._spool_rows(connection, rows)

    async def _spool_rows(self, connection: Connection, rows: list[Row]) -> None:
        self._is_full = not await self._store(rows)
        if self._is_full:
            self._stopping = await self._stop_early(connection)

    async def _handle_result(
        self, connection: Connection, result: PGresult, ending: Ending, statement: str
    ) -> None:
        status = result.status
        if status in protocol.ROW_STATUSES:
            await self._handle_rows(connection, result)
        if status == ExecStatus.EMPTY_QUERY:
            ending.state, ending.error = RunState.FAILED, EMPTY_STATEMENT
        elif status in protocol.ROW_STATUSES or status in protocol.DONE_STATUSES:
            self._handle_command(result, ending)
        else:
            failure = self._failure(connection, result, statement)
            is_cancel = failure.sqlstate == protocol.CANCELLED_SQLSTATE
            if is_cancel and self._copy_failure is not None:
                failure = self._copy_failure  # the server only repeats the reason it was sent
            if not (self._stopping and is_cancel):
                ending.state, ending.error = RunState.FAILED, failure

    def _handle_command(self, result: PGresult, ending: Ending) -> None:
        """The command tag arrives with the last chunk of rows, or after it."""
        if not result.command_status:
            return
        command = protocol.command_of(result)
        ending.command = command
        if self.columns is None or command in _COUNTING_COMMANDS:
            ending.rows_affected = protocol.rows_affected_of(result)

    async def _handle_rows(self, connection: Connection, result: PGresult) -> None:
        if self.columns is None:
            self.columns = protocol.columns_of(connection, result)
            self._origins = protocol.origins_of(result)
        if not result.ntuples or self._is_full:
            return
        start, count = 0, result.ntuples
        while start < count and not self._is_full:
            await self._throttle.yield_to_others()
            end = min(start + self._rows_per_chunk, count)
            self._is_full = not await self._store(self._rows.load_part(result, start, end))
            start = end
        if self._is_full:
            self._stopping = await self._stop_early(connection)

    async def _store(self, rows: list[Row]) -> bool:
        """Spools the rows that fit; returns whether more rows are wanted."""
        full = False
        if len(rows) > self._rows_left:
            rows = rows[: self._rows_left]
            self._truncated, full = TruncationReason.MAX_ROWS, True
        if len(rows) == 1:  # may be wide: truncate first, to encode it only once
            rows = self._truncate_cells(rows)
        chunk = to_chunk(rows)
        if len(rows) > 1 and len(chunk.lines) > self._longest_cell:
            rows = self._truncate_cells(rows)
            chunk = to_chunk(rows)
        if len(chunk.lines) > self._bytes_left:
            rows = _rows_within(rows, self._bytes_left)
            chunk = to_chunk(rows)
            self._truncated, full = TruncationReason.MAX_BYTES, True
        self._rows_left -= chunk.rows
        self._bytes_left -= len(chunk.lines)
        if rows:
            self._is_ascii = self._is_ascii and chunk.lines.isascii()
            self._rows_per_chunk = max(1, CHUNK_BYTES * chunk.rows // len(chunk.lines))
            await self._spool.add(chunk)
        return not full

    def _truncate_cells(self, rows: list[Row]) -> list[Row]:
        short = truncate_cells(rows, self._longest_cell)
        if short is not rows:
            self._truncated = self._truncated or TruncationReason.MAX_CELL
        return short

    def _failure(self, connection: Connection, result: PGresult, statement: str) -> Failure:
        counts_bytes = stores_any_bytes(connection)
        failure = protocol.failure_of(result, statement, counts_bytes=counts_bytes)
        if failure.sqlstate is None:
            return self.fatal or CONNECTION_LOST
        if failure.severity in protocol.FATAL:
            self.fatal = ended_by_server(failure)
            return self.fatal
        if failure.sqlstate == "42601" and failure.position is None:
            second = second_statement(statement)
            return failure if second is None else multiple_statements(statement, second)
        return failure


def _rows_within(rows: list[Row], size: int) -> list[Row]:
    """The longest prefix of `rows` that takes at most `size` bytes encoded."""
    for index, row in enumerate(rows):
        size -= len(to_chunk([row]).lines)
        if size < 0:
            return rows[:index]
    return rows
