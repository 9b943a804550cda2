"""Reads what a statement answers, within limits, and hands its rows to a spool."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from db.runs import (
    FAILED,
    MAX_BYTES,
    MAX_CELL,
    MAX_ROWS,
    SUCCEEDED,
    Column,
    Ending,
    Failure,
    Notice,
    Truncated,
)
from db.workbench.connections.libpq import Connection
from db.workbench.execution import protocol
from db.workbench.execution.column_sources import described
from db.workbench.execution.outcomes import EMPTY, LOST, refused_copy, several
from db.workbench.execution.read_throttle import Pace
from db.workbench.execution.sql_text import second_statement
from db.workbench.results.result_store import Spool
from db.workbench.results.values import Rows, chunk_of, cut

MOST_NOTICES = 100
AT_ONCE_BYTES = 1024 * 1024
"""Rows are turned into lines of about so many bytes at a time: wide ones one by one."""
_CHANGING = {"INSERT", "UPDATE", "DELETE", "MERGE"}

StopEarly = Callable[[Connection], Awaitable[bool]]


class Reader:
    """One statement's columns, rows, notices and command."""

    def __init__(
        self,
        spool: Spool,
        *,
        max_rows: int,
        max_bytes: int,
        longest_cell: int,
        stop_early: StopEarly,
        pace: Pace,
    ) -> None:
        """`stop_early` is called once, when a limit is met; it tells whether it has asked."""
        self.columns: list[Column] | None = None
        self.notices: list[Notice] = []
        self.sent_at: float | None = None
        self._origins: list[protocol.Origin] = []
        self._rows = Rows()
        self._spool = spool
        self._rows_left = max_rows
        self._bytes_left = max_bytes
        self._limits = {MAX_ROWS: max_rows, MAX_BYTES: max_bytes, MAX_CELL: longest_cell}
        self._longest_cell = longest_cell
        self._stop_early = stop_early
        self._pace = pace
        self._stopping = False
        self._truncated: str | None = None
        self._is_full = False
        self._rows_at_once = 1
        """Until it is known how wide they are."""

    def note(self, diagnostic: Diagnostic) -> None:
        """The first of them are kept."""
        if len(self.notices) < MOST_NOTICES:
            self.notices.append(protocol.notice_of(diagnostic))

    async def read(
        self, connection: Connection, statement: str, parameters: protocol.Parameters
    ) -> Ending:
        """To its last result; connections on which COPY has begun are closed."""
        self.sent_at = asyncio.get_running_loop().time()
        await protocol.send(connection, statement, parameters)
        ending = Ending(state=SUCCEEDED)
        with self._pace.reading():
            async for result in protocol.results(connection, self._pace):
                if result.status in protocol.COPYING:
                    connection.pgconn.finish()
                    return Ending(state=FAILED, error=refused_copy())
                await self._take(connection, result, ending, statement)
        if ending.state == SUCCEEDED and self._truncated is not None:
            limit = self._limits[self._truncated]
            ending.truncated = Truncated(reason=self._truncated, limit=limit)
        return ending

    async def describe_columns(self, connection: Connection) -> None:
        """By what the catalogue says of them; as they are where it does not answer."""
        if self.columns is not None:
            with contextlib.suppress(psycopg.Error):
                self.columns = await described(connection, self.columns, self._origins)

    async def _take(
        self, connection: Connection, result: PGresult, ending: Ending, statement: str
    ) -> None:
        status = result.status
        if status in protocol.ROWS:
            await self._take_rows(connection, result)
        if status == ExecStatus.EMPTY_QUERY:
            ending.state, ending.error = FAILED, EMPTY
        elif status in protocol.ROWS or status in protocol.DONE:
            self._take_command(result, ending)
        else:
            failure = self._failure(connection, result, statement)
            if not (self._stopping and failure.sqlstate == protocol.CANCELLED_SQLSTATE):
                ending.state, ending.error = FAILED, failure

    def _take_command(self, result: PGresult, ending: Ending) -> None:
        """It comes with the last chunk of rows, or after it."""
        if not result.command_status:
            return
        command = protocol.command_of(result)
        ending.command = command
        if self.columns is None or command in _CHANGING:
            ending.rows_affected = result.command_tuples

    async def _take_rows(self, connection: Connection, result: PGresult) -> None:
        if self.columns is None:
            self.columns = protocol.columns_of(connection, result)
            self._origins = protocol.origins_of(result)
        if not result.ntuples or self._is_full:
            return
        start, count = 0, result.ntuples
        while start < count and not self._is_full:
            end = min(start + self._rows_at_once, count)
            self._is_full = not await self._keep(self._rows.load(result, start, end))
            start = end
        if self._is_full:
            self._stopping = await self._stop_early(connection)

    async def _keep(self, rows: list[tuple[object, ...]]) -> bool:
        """Whether there is room for more."""
        full = False
        if len(rows) > self._rows_left:
            rows = rows[: self._rows_left]
            self._truncated, full = MAX_ROWS, True
        if len(rows) == 1:  # it may be a wide one: those are not written twice
            rows = self._with_short_cells(rows)
        chunk = chunk_of(rows)
        if len(rows) > 1 and len(chunk.lines) > self._longest_cell:
            rows = self._with_short_cells(rows)
            chunk = chunk_of(rows)
        if len(chunk.lines) > self._bytes_left:
            rows = _fitting(rows, self._bytes_left)
            chunk = chunk_of(rows)
            self._truncated, full = MAX_BYTES, True
        self._rows_left -= chunk.rows
        self._bytes_left -= len(chunk.lines)
        if rows:
            self._rows_at_once = max(1, AT_ONCE_BYTES * chunk.rows // len(chunk.lines))
            await self._spool.add(chunk)
        return not full

    def _with_short_cells(self, rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
        short = cut(rows, self._longest_cell)
        if short != rows:
            self._truncated = self._truncated or MAX_CELL
        return short

    def _failure(self, connection: Connection, result: PGresult, statement: str) -> Failure:
        encoding = connection.pgconn.parameter_status(b"server_encoding")
        failure = protocol.failure_of(result, statement, counts_bytes=encoding == b"SQL_ASCII")
        if failure.sqlstate is None:
            return LOST
        second = second_statement(statement)
        if failure.sqlstate == "42601" and failure.position is None and second is not None:
            return several(statement, second)
        return failure


def _fitting(rows: list[tuple[object, ...]], size: int) -> list[tuple[object, ...]]:
    """As many of the first rows as have room."""
    for index, row in enumerate(rows):
        size -= len(chunk_of([row]).lines)
        if size < 0:
            return rows[:index]
    return rows
