"""Connects through libpq with the user's parameters only, not with those of the server account.

libpq takes missing parameters from the environment (PGPASSWORD, PGSERVICE, PGOPTIONS ...) and from
files of the account (~/.pgpass, ~/.postgresql/*). It treats an empty value as missing, so every
parameter with such a source is set to a value, and the variables are removed.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg import abc, errors, generators
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.pq.misc import PGnotify

from db.connections import SslMode
from db.runs import Backend
from db.workbench.connections.bounds.bounded_connection import BoundedConnection, announcing
from db.workbench.connections.bounds.read_budget import LargeRowSlot, UnexpectedRows
from db.workbench.connections.bounds.socket_gate import Announce
from db.workbench.connections.targets.destinations import Destination
from db.workbench.sql.pinned import pinned

Connection: TypeAlias = BoundedConnection

MAX_STARTED_CHARS = 100
"""The limit of the start of a backend, a time of some 30 characters, stored with each run."""
MAX_FACT_CHARS = 200
"""The limit of a version, or of a protocol and cipher, which are stored with the connection."""
_DONE = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY}
_NOT_LOADED = (ArithmeticError, LookupError, NameError, TypeError, ValueError)
"""The loader of arrays raises UnboundLocalError for some texts that are none."""
_ROWS = {ExecStatus.TUPLES_OK, ExecStatus.TUPLES_CHUNK}
_COPIES = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}
SET_TIMEOUT = "SELECT pg_catalog.set_config('statement_timeout', '{}', false)"
_NO_FILE = f"{os.devnull}/none"
# A password is sent in clear text only over TLS with a verified server certificate.
_SAFE = "scram-sha-256,md5,none"
_CLEAR = "scram-sha-256,md5,password,none"

_ALWAYS: dict[str, Any] = {
    "application_name": "howdah",
    "client_encoding": "utf8",
    "passfile": _NO_FILE,
    "sslcertmode": "disable",
    "sslcrl": _NO_FILE,
    "sslnegotiation": "postgres",
    "sslcompression": "0",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "gssencmode": "disable",
    "channel_binding": "prefer",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    # Detect a broken network while the connection is idle.
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


class ServerFacts(NamedTuple):
    """Properties of a connected server. `tls` is protocol and cipher; None without TLS."""

    server_version: str
    tls: str | None
    connected_at: datetime


async def connect(
    destination: Destination,
    *,
    address: str,
    port: int,
    root_certificates: Path | None,
    timeout_s: float,
    slot: LargeRowSlot,
    announce: Announce | None = None,
) -> Connection:
    """Connects to `address`; the server certificate must be issued for `destination.host`."""
    _hide_environment()
    password: dict[str, Any] = {"password": destination.password} if destination.password else {}
    before = announcing.set(announce)
    try:
        connection = await BoundedConnection.connect(
            **_ALWAYS,
            host=destination.host,
            hostaddr=address,
            port=port,
            dbname=destination.database,
            user=destination.username,
            sslmode=destination.ssl_mode.lower().replace("_", "-"),
            sslrootcert=str(root_certificates or _NO_FILE),
            require_auth=_CLEAR if destination.ssl_mode == SslMode.VERIFY_FULL else _SAFE,
            connect_timeout=max(1, round(timeout_s)),
            autocommit=True,
            prepare_threshold=None,
            **password,
        )
    finally:
        announcing.reset(before)
    connection.pgconn.notify_handler = _discard
    connection.use_slot(slot)
    return connection


async def facts_of(connection: Connection) -> ServerFacts:
    """Queries the server, which also proves that it answers statements."""
    version = connection.pgconn.parameter_status(b"server_version") or b""
    tls = "TLS" if connection.pgconn.ssl_in_use else None
    try:
        used = await fetch_value(
            connection,
            pinned(
                "SELECT pg_catalog.concat_ws(' ', version, cipher) FROM pg_catalog.pg_stat_ssl "
                "WHERE pid = pg_catalog.pg_backend_pid()"
            ),
        )
    except psycopg.Error:
        if connection.closed:
            raise
        used = None  # not every server that speaks PostgreSQL has this view
    known = _shortened(str(used)) if tls and used else None
    shown = _shortened(version.decode(errors="replace"))
    return ServerFacts(shown, known or tls, datetime.now(UTC))


def _shortened(fact: str) -> str:
    return fact.replace("\0", "")[:MAX_FACT_CHARS]


async def command(connection: Connection, sql: str) -> None:
    """Executes SQL of our own without parameters, and ignores its rows.

    Raises:
        psycopg.Error: As `Connection.execute` does.
    """
    connection.pgconn.send_query(sql.encode())
    await _wait_for_result(connection)


async def fetch_rows(
    connection: Connection, sql: str, values: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """The rows of one statement of our own, in which the values are $1, $2 ...

    Raises:
        psycopg.Error: As `Connection.execute` does, or `UnexpectedRows`.
    """
    transformer = _send_query(connection, sql, values)
    result = await _wait_for_result(connection)
    if result is None or result.status != ExecStatus.TUPLES_OK:
        raise UnexpectedRows
    return _load_rows(transformer, result)


async def stream_rows(
    connection: Connection, sql: str, values: Sequence[Any] = (), *, chunk_rows: int
) -> AsyncGenerator[tuple[Any, ...]]:
    """As `fetch_rows`, of which libpq buffers `chunk_rows` at once. Close the connection to stop.

    Raises:
        psycopg.Error: As `fetch_rows`.
    """
    transformer, pgconn = _send_query(connection, sql, values), connection.pgconn
    pgconn.set_chunked_rows_mode(chunk_rows)
    await connection.wait(generators.send(pgconn))
    failed: PGresult | None = None
    while (result := await connection.wait(generators.fetch(pgconn))) is not None:
        if result.status in _ROWS:
            for row in _load_rows(transformer, result):
                yield row
        elif result.status in _COPIES:  # libpq repeats it without end
            connection.finish()
            raise UnexpectedRows
        else:
            failed = failed or result
    if failed is not None:
        raise errors.error_from_result(failed)


def _send_query(connection: Connection, sql: str, values: Sequence[Any]) -> abc.Transformer:
    # Without the connection, whose encoding and time zone psycopg looks up, logs and keeps.
    transformer: abc.Transformer = Transformer()
    sent = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
    connection.pgconn.send_query_params(
        sql.encode(), sent, param_types=transformer.types, param_formats=transformer.formats
    )
    return transformer


def _load_rows(transformer: abc.Transformer, result: PGresult) -> list[tuple[Any, ...]]:
    # Some binary loaders trust what the server says, and would read beyond the end of the value.
    transformer.set_pgresult(result, format=Format.TEXT)
    try:
        return transformer.load_rows(0, result.ntuples, tuple)
    except (*_NOT_LOADED, RecursionError) as error:
        raise UnexpectedRows from error


async def fetch_value(connection: Connection, sql: str, values: Sequence[Any] = ()) -> Any:
    """The last column of the first row, or None without one, as `fetch_rows` returns it.

    The server belongs to the user: the value may be of any type but a list, record or JSON value,
    whose text may be nested without limit.

    Raises:
        psycopg.Error: As `fetch_rows`.
    """
    rows = await fetch_rows(connection, sql, values)
    value = rows[0][-1] if rows and rows[0] else None
    if isinstance(value, list | tuple | dict):
        raise UnexpectedRows
    return value


async def _wait_for_result(connection: Connection) -> PGresult | None:
    """Does without a cursor, which takes several times as long as a short statement."""
    result = await connection.wait(_read_result(connection.pgconn))
    if result is not None and result.status not in _DONE:
        raise errors.error_from_result(result)
    return result


def _read_result(pgconn: PGconn) -> PQGen[PGresult | None]:
    """Reads all results, and returns the first that failed, or the first one.

    The generators of psycopg keep all of them, and each takes more than its message: the millions
    that fit into what a connection may buffer would take gigabytes.
    """
    yield from generators.send(pgconn)
    kept: PGresult | None = None
    try:
        while (result := (yield from generators.fetch(pgconn))) is not None:
            if kept is None or (kept.status in _DONE and result.status not in _DONE):
                kept = result
            if result.status in _COPIES:  # libpq repeats it without end
                break
    except psycopg.DatabaseError:
        if kept is None or kept.status in _DONE:
            raise
    return kept  # an error says why the server has closed the connection


async def pipeline(connection: Connection, *statements: str) -> None:
    """Like `command` for each, in one round trip; each is a transaction of its own.

    Raises:
        psycopg.Error: The first statement that failed; those after it were executed.
    """
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    for each in statements:
        pgconn.send_query_params(each.encode(), None)
        pgconn.pipeline_sync()
    result = await connection.wait(_read_synced(pgconn, len(statements)))
    pgconn.exit_pipeline_mode()
    if result is not None:
        raise errors.error_from_result(result)


def _read_synced(pgconn: PGconn, count: int) -> PQGen[PGresult | None]:
    """Reads until the server has confirmed `count` statements; returns the first that failed."""
    yield from generators.send(pgconn)
    failed: PGresult | None = None
    was_none = False
    while count:
        result = yield from generators.fetch(pgconn)
        if result is None and was_none:  # libpq would return None without end
            raise psycopg.OperationalError("the server has not confirmed a statement")
        was_none = result is None
        if result is None or result.status in _DONE:
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            count -= 1
        elif failed is None:
            failed = result
    return failed


def learn_backend(connection: Connection, started_at: object) -> Backend:
    """The backend of the connection, which is also kept with it.

    Raises:
        UnexpectedRows: `started_at`, the answer of the server, is no time.
    """
    started = "" if started_at is None else started_at
    if not isinstance(started, str) or len(started) > MAX_STARTED_CHARS or "\0" in started:
        raise UnexpectedRows
    connection.backend = Backend(connection.pgconn.backend_pid, started)
    return connection.backend


@contextlib.contextmanager
def abort_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Shuts the connection down after `seconds`, so that the block fails.

    psycopg waits for the server to confirm the cancellation of a statement: with
    `asyncio.timeout` alone, a silent server would block for ever.
    """
    timer = asyncio.get_running_loop().call_later(seconds, connection.cut)
    try:
        yield
    finally:
        timer.cancel()


@contextlib.asynccontextmanager
async def opened_within(
    seconds: float, opening: contextlib.AbstractAsyncContextManager[Connection]
) -> AsyncIterator[Connection]:
    """Opens a connection, and cuts it at the end of the time, which includes the opening.

    Raises:
        TimeoutError: It did not open in time.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout_at(ends_at):
            connection = await stack.enter_async_context(opening)
        with abort_after(connection, ends_at - loop.time()):
            yield connection


def _discard(_notification: PGnotify) -> None:
    """Discards a notification.

    The handler of psycopg collects them without limit, and raises an error if one is not in UTF-8.
    """


def _hide_environment() -> None:
    """Removes the PG variables for libpq only; `os.environ` keeps them for Howdah's database."""
    for name in os.environ:
        if name.startswith("PG"):
            os.unsetenv(name)
