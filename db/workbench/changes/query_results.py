"""Sends several statements at once, and reads what each of them has changed and returned."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from psycopg import generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from db.runs import Failure
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.connections.libpq import Connection
from db.workbench.execution.reading import protocol
from db.workbench.execution.reading.client_encoding import stores_any_bytes
from db.workbench.execution.run_failures import CONNECTION_LOST, ended_by_server
from db.workbench.execution.statement.batch import BatchContext
from db.workbench.results.numbers import number_of
from db.workbench.results.value_conversion import RowLoader

MAX_RETURNED_BYTES = 8 * 1024 * 1024
"""The size of the rows that one request returns; the others are omitted."""


class StatementResult(NamedTuple):
    """How one statement has ended. `row` is its first row, unless it does not fit any more."""

    command: str | None
    changed: int
    """Number of rows that it changed or returned."""
    row: tuple[Any, ...] | None


class QueryFailed(Exception):
    """The first statement that failed, after those of `results`: the others were not executed."""

    def __init__(self, failure: Failure, results: list[StatementResult]) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.results = results


class StatementSender:
    """Sends statements over one connection, and limits what their rows take in memory."""

    def __init__(self, connection: Connection, context: BatchContext) -> None:
        self.is_truncated = False
        """Whether a row was omitted."""
        self._connection = connection
        self._context = context
        self._bytes_left = MAX_RETURNED_BYTES

    async def send(self, statements: Sequence[str]) -> list[StatementResult]:
        """Returns the result of each statement.

        Raises:
            QueryFailed: PostgreSQL refused one of them.
            UnexpectedRows: The server returned more or fewer results than statements.
            psycopg.Error: The connection was lost.
        """
        connection, text = self._connection, ";\n".join(statements)
        pgconn = connection.pgconn
        pgconn.send_query(text.encode())
        pgconn.set_chunked_rows_mode(protocol.CHUNK_ROWS)
        await connection.wait(generators.send(pgconn))
        results: list[StatementResult] = []
        failure: Failure | None = None
        row: tuple[Any, ...] | None = None
        count = 0
        async for result in protocol.results(connection, self._context.throttle):
            if result.status in protocol.COPY_STATUSES:
                connection.finish()
                raise QueryFailed(CONNECTION_LOST, results)
            if result.status in protocol.ROW_STATUSES and result.ntuples:
                row = self._first_row(result) if not count else row
                count += result.ntuples
            if result.status == ExecStatus.TUPLES_CHUNK:
                continue
            if result.status in protocol.DONE_STATUSES:
                if failure is not None or len(results) == len(statements):
                    connection.finish()  # it may send any number
                    raise UnexpectedRows
                changed = count or result.command_tuples or 0
                results.append(StatementResult(protocol.command_of(result), changed, row))
                row, count = None, 0
            elif failure is None:
                failure = self._failure_of(result, text)
        if failure is not None:
            raise QueryFailed(failure, results)
        if len(results) < len(statements):
            raise UnexpectedRows
        return results

    def _first_row(self, result: PGresult) -> tuple[Any, ...] | None:
        (loaded,) = RowLoader().load_part(result, 0, 1)
        row = tuple(number_of(cell, result.ftype(at)) for at, cell in enumerate(loaded))
        self._bytes_left -= sum(len(cell.encode()) if isinstance(cell, str) else 8 for cell in row)
        if self._bytes_left < 0:
            self.is_truncated = True
            return None
        return row

    def _failure_of(self, result: PGresult, text: str) -> Failure:
        """Without a position: the statements are ours."""
        counts_bytes = stores_any_bytes(self._connection)
        failure = protocol.failure_of(result, text, counts_bytes=counts_bytes)
        reader = self._context.reader
        if failure.sqlstate is None:
            return reader.fatal or CONNECTION_LOST
        if failure.severity in protocol.FATAL:
            reader.fatal = ended_by_server(failure)
            return reader.fatal
        return msgspec.structs.replace(failure, position=None, line=None, column=None)
