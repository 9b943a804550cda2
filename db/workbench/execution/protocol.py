"""A statement on its way through libpq, untouched, and what comes back, a chunk at a time.

Below psycopg's cursors, which tell neither the columns of a result without rows nor the command.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from psycopg import generators, pq
from psycopg.errors import Diagnostic
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from db.runs import Column, Failure, Notice
from db.workbench.connections.libpq import Connection
from db.workbench.execution.outcomes import HINTS
from db.workbench.execution.read_throttle import Pace
from db.workbench.execution.sql_text import line_and_column
from db.workbench.results.values import Rows

CHUNK_ROWS = 50
"""Of wide rows libpq holds so many at once; fewer cost time with narrow ones."""
LONGEST = 10_000
"""Characters of a message that are kept."""

Parameters: TypeAlias = Sequence[bytes | None]


class Origin(NamedTuple):
    """Where the values of a column come from; both are 0 where they are computed."""

    table_oid: int
    number: int


COPYING = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}
ROWS = {ExecStatus.TUPLES_CHUNK, ExecStatus.TUPLES_OK}
DONE = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY}
CANCELLED_SQLSTATE = "57014"


async def send(connection: Connection, statement: str, parameters: Parameters) -> None:
    """By the extended protocol, which takes one statement and no more."""
    pgconn = connection.pgconn
    pgconn.send_query_params(statement.encode(), parameters)
    pgconn.set_chunked_rows_mode(CHUNK_ROWS)
    await connection.wait(generators.send(pgconn))


async def results(connection: Connection, pace: Pace | None = None) -> AsyncIterator[PGresult]:
    """Until the server is ready for the next statement, or wants to copy.

    Each is gone when the next is asked for: two chunks of wide rows are more than one.
    """
    while (result := await _next(connection, pace)) is not None:
        is_last = result.status in COPYING
        yield result
        result.clear()
        if is_last:
            return


async def _next(connection: Connection, pace: Pace | None) -> PGresult | None:
    """Without a way through the event loop when it has come already."""
    pgconn = connection.pgconn
    if not pgconn.is_busy():
        return pgconn.get_result()
    result: PGresult | None = await connection.wait(generators.fetch(pgconn))
    if pace is not None:
        await pace.burst()
    return result


async def look_up(connection: Connection, queries: str, *, most: int) -> list[tuple[Any, ...]]:
    """Rows of queries of ours; nothing where they fail. Who answers with more is hung up on."""
    pgconn = connection.pgconn
    pgconn.send_query(queries.encode())
    pgconn.set_chunked_rows_mode(CHUNK_ROWS)
    await connection.wait(generators.send(pgconn))
    found: list[tuple[Any, ...]] = []
    rows = Rows()
    async for result in results(connection):
        if result.status in ROWS:
            found += rows.load(result, 0, result.ntuples)
        if result.status in COPYING or len(found) > most:
            pgconn.finish()
            return []
    return found


def columns_of(connection: Connection, result: PGresult) -> list[Column]:
    found = []
    for index in range(result.nfields):
        oid = result.ftype(index)
        name = (result.fname(index) or b"").decode(errors="replace")
        found.append(Column(name=name, type=_type_name(connection, oid), type_oid=oid))
    return found


def origins_of(result: PGresult) -> list[Origin]:
    return [
        Origin(result.ftable(index), result.ftablecol(index)) for index in range(result.nfields)
    ]


def _type_name(connection: Connection, oid: int) -> str:
    """Empty where only the server knows it."""
    known = connection.adapters.types.get(oid)
    if known is None:
        return ""
    return f"{known.name}[]" if oid == known.array_oid else known.name


def command_of(result: PGresult) -> str | None:
    """The words of the command tag, without its counts."""
    words = (result.command_status or b"").decode(errors="replace").split()
    return " ".join(word for word in words if not word.isdigit()) or None


def failure_of(result: PGresult, statement: str, *, counts_bytes: bool) -> Failure:
    """What the server says is wrong; `counts_bytes` where it knows no characters."""
    sqlstate = _field(result, DiagnosticField.SQLSTATE)
    position = _position(result, statement, counts_bytes=counts_bytes)
    line, column = line_and_column(statement, position) if position else (None, None)
    return Failure(
        message=_field(result, DiagnosticField.MESSAGE_PRIMARY) or "The server gave no reason.",
        sqlstate=sqlstate,
        severity=_severity(result),
        detail=_field(result, DiagnosticField.MESSAGE_DETAIL),
        hint=_field(result, DiagnosticField.MESSAGE_HINT) or HINTS.get(sqlstate or ""),
        constraint=_field(result, DiagnosticField.CONSTRAINT_NAME),
        position=position,
        line=line,
        column=column,
    )


def notice_of(diagnostic: Diagnostic) -> Notice:
    return Notice(
        severity=diagnostic.severity_nonlocalized or diagnostic.severity or "NOTICE",
        message=(diagnostic.message_primary or "")[:LONGEST],
        sqlstate=diagnostic.sqlstate,
        detail=(diagnostic.message_detail or "")[:LONGEST] or None,
        hint=(diagnostic.message_hint or "")[:LONGEST] or None,
    )


def _severity(result: PGresult) -> str | None:
    """In English, whatever the server's language."""
    return _field(result, DiagnosticField.SEVERITY_NONLOCALIZED) or _field(
        result, DiagnosticField.SEVERITY
    )


def _position(result: PGresult, statement: str, *, counts_bytes: bool) -> int | None:
    text = _field(result, DiagnosticField.STATEMENT_POSITION)
    if text is None or not text.isdigit():
        return None
    position = int(text)
    if counts_bytes:
        position = len(statement.encode()[: position - 1].decode(errors="ignore")) + 1
    return position if 1 <= position <= len(statement) + 1 else None


def _field(result: PGresult, field: DiagnosticField) -> str | None:
    raw = result.error_field(field)
    return None if raw is None else raw[: 4 * LONGEST].decode(errors="replace")[:LONGEST]


def is_idle(connection: Connection) -> bool:
    return connection.pgconn.transaction_status == pq.TransactionStatus.IDLE


def has_failed(connection: Connection) -> bool:
    """In a transaction that takes no statement any more."""
    return connection.pgconn.transaction_status == pq.TransactionStatus.INERROR


def is_busy(connection: Connection) -> bool:
    return connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE
