"""Sends statements through libpq and reads results chunk by chunk.

psycopg's cursors are bypassed: they give neither the columns of an empty result nor the command
tag.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec
from psycopg import generators, pq
from psycopg.errors import Diagnostic
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from db.runs import Column, Failure, ServerNotice
from db.workbench.connections.bounds.read_budget import UnexpectedRows, size_of_rows
from db.workbench.connections.libpq import Connection
from db.workbench.copy.copy_failures import source_position
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.run_failures import hint_of
from db.workbench.results.value_conversion import Row, RowLoader
from db.workbench.sql.sql_text import line_and_column

MAX_COLUMNS = 1_664
"""The maximum of PostgreSQL. Each takes space in our database, and time in all that reads it."""
MAX_NAME_CHARS = 1_000
"""Longer names of columns are truncated; PostgreSQL does so at 63 bytes."""
CHUNK_ROWS = 10
"""Rows libpq buffers at once: together they may have `ReadBudget.row_bytes`. Fewer cost time."""
MAX_CATALOGUE_BYTES = 8_000_000
"""The limit of all rows of a query of ours; those of PostgreSQL are a fraction of it."""
MAX_MESSAGE_CHARS = 10_000
"""Longer messages, details and hints are truncated."""
MAX_LABEL_CHARS = 100
"""Longer severities and SQLSTATEs of notices are truncated, of which PostgreSQL has short ones."""
MAX_POSITION_DIGITS = 9
"""No statement has more characters or bytes than it can count."""
MAX_COUNT = 2**53 - 1
"""The API can represent no larger number of rows."""

R = TypeVar("R")
Parameters: TypeAlias = Sequence[bytes | None]


class Origin(NamedTuple):
    """The table column that a result column shows. Both are 0 for a computed column."""

    table_oid: int
    number: int


COPY_STATUSES = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}
ROW_STATUSES = {ExecStatus.TUPLES_CHUNK, ExecStatus.TUPLES_OK}
DONE_STATUSES = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY}
CANCELLED_SQLSTATE = "57014"
FATAL = ("FATAL", "PANIC")
"""The severities of errors that end the connection."""


async def send(connection: Connection, statement: str, parameters: Parameters) -> None:
    """Uses the extended query protocol, which accepts exactly one statement."""
    pgconn = connection.pgconn
    pgconn.send_query_params(statement.encode(), parameters)
    pgconn.set_chunked_rows_mode(CHUNK_ROWS)
    if pgconn.flush():  # a short statement fits into the buffer of the socket
        await connection.wait(generators.send(pgconn))


async def send_without_values(connection: Connection, statement: str) -> None:
    """Uses the simple query protocol, in which `$1` of a generic plan needs no value.

    It accepts several statements, so `prepare` has to accept this text before.
    """
    pgconn = connection.pgconn
    pgconn.send_query(statement.encode())
    pgconn.set_chunked_rows_mode(CHUNK_ROWS)
    await connection.wait(generators.send(pgconn))


async def prepare(connection: Connection, statement: str) -> AsyncIterator[PGresult]:
    """Parses the statement without executing it; the last result has its parameters' types."""
    pgconn = connection.pgconn
    send_parse = partial(pgconn.send_prepare, b"", statement.encode())
    send_describe = partial(pgconn.send_describe_prepared, b"")
    has_failed = False
    for send_message in (send_parse, send_describe):
        if has_failed:
            return
        send_message()
        await connection.wait(generators.send(pgconn))
        async for result in results(connection):
            has_failed |= result.status != ExecStatus.COMMAND_OK
            yield result


async def results(
    connection: Connection, throttle: ReadThrottle | None = None
) -> AsyncIterator[PGresult]:
    """Yields results until the server is ready for the next statement or starts a COPY.

    Each result is cleared before the next is read, so that only one chunk is in memory.
    """
    while (result := await next_result(connection, throttle)) is not None:
        is_last = result.status in COPY_STATUSES
        yield result
        result.clear()
        if is_last:
            return


async def next_result(
    connection: Connection, throttle: ReadThrottle | None = None
) -> PGresult | None:
    """Skips the wait for the server if the result is already buffered. None after the last one."""
    if throttle is not None:
        await throttle.yield_to_others()
    pgconn = connection.pgconn
    if not pgconn.is_busy():
        return pgconn.get_result()
    result: PGresult | None = await connection.wait(generators.fetch(pgconn))
    return result


async def query_catalogue(
    connection: Connection, queries: str, row: type[R], *, max_rows: int
) -> list[R]:
    """Rows of our own queries; empty if they fail.

    The server belongs to the user and may not be a real PostgreSQL: the connection is closed beyond
    `max_rows`, or `MAX_CATALOGUE_BYTES`.

    Raises:
        UnexpectedRows: They have other types than `row`, in which an int8 is text.
    """
    pgconn = connection.pgconn
    pgconn.send_query(queries.encode())
    pgconn.set_chunked_rows_mode(CHUNK_ROWS)
    await connection.wait(generators.send(pgconn))
    found: list[Row] = []
    rows, size = RowLoader(), 0
    async for result in results(connection):
        if result.status in ROW_STATUSES:
            more = rows.load(result)
            size += size_of_rows(more)
            found += more
        is_excessive = len(found) > max_rows or size > MAX_CATALOGUE_BYTES
        if result.status in COPY_STATUSES or is_excessive:
            connection.finish()
            return []
    try:
        return msgspec.convert(found, list[row])  # type: ignore[valid-type]  # a parameter
    except msgspec.ValidationError as error:
        raise UnexpectedRows from error


def columns_of(connection: Connection, result: PGresult) -> list[Column]:
    """Raises UnexpectedRows if there are more than PostgreSQL can return."""
    if result.nfields > MAX_COLUMNS:
        raise UnexpectedRows
    found = []
    for index in range(result.nfields):
        oid = result.ftype(index)
        name = (result.fname(index) or b"")[:MAX_NAME_CHARS].decode(errors="replace")
        found.append(Column(name=name, type=_type_name(connection, oid), type_oid=oid))
    return found


def origins_of(result: PGresult) -> list[Origin]:
    return [
        Origin(result.ftable(index), result.ftablecol(index)) for index in range(result.nfields)
    ]


def _type_name(connection: Connection, oid: int) -> str:
    """Empty for types that psycopg does not know."""
    known = connection.adapters.types.get(oid)
    if known is None:
        return ""
    return f"{known.name}[]" if oid == known.array_oid else known.name


def command_of(result: PGresult) -> str | None:
    """The command tag without its counts, such as `INSERT` or `CREATE TABLE`."""
    words = (result.command_status or b"").decode(errors="replace").split()
    return " ".join(word for word in words if not word.isdigit()) or None


def rows_affected_of(result: PGresult) -> int | None:
    """The count of the command tag. None without one, or if no PostgreSQL can have counted it."""
    count = result.command_tuples
    return None if count is None or count > MAX_COUNT else count


def failure_of(result: PGresult, statement: str, *, counts_bytes: bool) -> Failure:
    """`counts_bytes` is true if the server reports positions in bytes (SQL_ASCII databases)."""
    sqlstate = _field(result, DiagnosticField.SQLSTATE)
    position = _position(result, statement, counts_bytes=counts_bytes)
    line, column = line_and_column(statement, position) if position else (None, None)
    context = _field(result, DiagnosticField.CONTEXT)
    source_line, source_column = source_position(context)
    return Failure(
        message=_field(result, DiagnosticField.MESSAGE_PRIMARY) or "The server gave no reason.",
        sqlstate=sqlstate,
        severity=_severity(result),
        detail=_field(result, DiagnosticField.MESSAGE_DETAIL),
        hint=_field(result, DiagnosticField.MESSAGE_HINT) or hint_of(sqlstate, statement, position),
        constraint=_field(result, DiagnosticField.CONSTRAINT_NAME),
        context=context,
        source_line=source_line,
        source_column=source_column,
        position=position,
        line=line,
        column=column,
    )


def notice_of(diagnostic: Diagnostic) -> ServerNotice:
    return ServerNotice(
        severity=(diagnostic.severity_nonlocalized or diagnostic.severity or "NOTICE")[
            :MAX_LABEL_CHARS
        ],
        message=(diagnostic.message_primary or "")[:MAX_MESSAGE_CHARS],
        sqlstate=(diagnostic.sqlstate or "")[:MAX_LABEL_CHARS] or None,
        detail=(diagnostic.message_detail or "")[:MAX_MESSAGE_CHARS] or None,
        hint=(diagnostic.message_hint or "")[:MAX_MESSAGE_CHARS] or None,
    )


def failure_of_notice(notice: ServerNotice) -> Failure:
    return Failure(
        message=notice.message,
        sqlstate=notice.sqlstate,
        severity=notice.severity,
        detail=notice.detail,
        hint=notice.hint,
    )


def _severity(result: PGresult) -> str | None:
    """The severity in English, if the server sends it."""
    return _field(result, DiagnosticField.SEVERITY_NONLOCALIZED) or _field(
        result, DiagnosticField.SEVERITY
    )


def _position(result: PGresult, statement: str, *, counts_bytes: bool) -> int | None:
    text = _field(result, DiagnosticField.STATEMENT_POSITION)
    if text is None or len(text) > MAX_POSITION_DIGITS or not text.isdecimal():
        return None
    position = int(text)
    if counts_bytes:
        position = len(statement.encode()[: position - 1].decode(errors="ignore")) + 1
    return position if 1 <= position <= len(statement) + 1 else None


def _field(result: PGresult, field: DiagnosticField) -> str | None:
    raw = result.error_field(field)
    return (
        None
        if raw is None
        else raw[: 4 * MAX_MESSAGE_CHARS].decode(errors="replace")[:MAX_MESSAGE_CHARS]
    )


def is_idle(connection: Connection) -> bool:
    return connection.pgconn.transaction_status == pq.TransactionStatus.IDLE


def is_in_transaction(connection: Connection) -> bool:
    """Whether the connection is in a transaction block that has not failed."""
    return connection.pgconn.transaction_status == pq.TransactionStatus.INTRANS


def has_failed(connection: Connection) -> bool:
    """Whether the connection is in an aborted transaction."""
    return connection.pgconn.transaction_status == pq.TransactionStatus.INERROR


def is_busy(connection: Connection) -> bool:
    return connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE
