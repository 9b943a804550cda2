"""Connects to Howdah's own database, with retries, and translates connection errors."""

import json
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import msgspec
from sqlalchemy.pool import NullPool

from db.concurrency.waiting import Backoff, retry
from db.errors import HowdahError, TimedOut, Unavailable
from db.postgres.route.sent_statements import connection_class
from db.postgres.route.urls import DatabaseUrl, format_address

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
log = logging.getLogger(__name__)

ONLY_HOST_S = 10.0
HOST_S = 2.0
"""The time of each of several hosts: an operation waits for a connection for 3 seconds."""
PREPARED_STATEMENTS = 100
"""The prepared statements that a connection keeps."""
BACKOFF = Backoff(first_s=0.05, longest_s=1.0)
MIGRATION_MS = 3_600_000  # a replica may wait for the lock while another rewrites a large table


_READ_DROPPED = "Try again in a moment."
_CHANGE_DROPPED = (
    "Try again. A change may have been saved: read first, or reuse its idempotencyKey."
)


class Dropped(Unavailable):
    """The connection was lost; a statement may or may not have run."""


class TlsRefused(ConnectionError):
    """The server refused TLS, or is not PostgreSQL."""


class WrongTimeZone(ConnectionError):
    """A pooler does not pass the time zone on."""


# Errors of a connection attempt
REFUSALS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Transient: the server is starting, restarting or out of connections.
_PASSING = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TargetServerAttributeNotMatched,
)
_LASTING = (ssl.SSLError, TlsRefused, WrongTimeZone)
_DROPPED = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
# Managed databases that are full often turn read-only instead; so does one that was replaced.
_FULL = (asyncpg.DiskFullError, asyncpg.ReadOnlySQLTransactionError)
# Raised on a closed connection, or by asyncpg while it processes the server's last message.
_MISUSED = (asyncpg.InterfaceError, asyncpg.InternalClientError)
FAILURES = (
    *(*_DROPPED, *_FULL, *_MISUSED, TimeoutError),
    *(asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError),
)
"""Errors that may not be caused by the statement itself: see `translate_error`."""

_REASONS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (asyncpg.InvalidPasswordError,),
        "The database at {place} refused the user {user!r}: the password is wrong.",
        "Check user and password in HOWDAH_DATABASE_URL; encode special characters as %XX.",
    ),
    (
        (asyncpg.InvalidAuthorizationSpecificationError,),
        "The database at {place} refused the user {user!r}: {detail}.",
        "Check the user in HOWDAH_DATABASE_URL; if the server requires TLS, add sslmode=require.",
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        "There is no database {database!r} at {place}.",
        "Create it (CREATE DATABASE {database}) or correct HOWDAH_DATABASE_URL.",
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        "The database at {place} has reached its connection limit.",
        "Raise its max_connections or lower HOWDAH_DATABASE_POOL_SIZE.",
    ),
    (
        (asyncpg.CannotConnectNowError,),
        "The database at {place} is starting up or shutting down.",
        "Wait until it is ready.",
    ),
    (
        (asyncpg.TargetServerAttributeNotMatched,),
        "No server at {place} matches target_session_attrs.",
        "Wait until one is promoted, or correct HOWDAH_DATABASE_URL.",
    ),
    (
        (TlsRefused,),
        "The server at {place} refused TLS, or is not PostgreSQL.",
        "Check host and port in HOWDAH_DATABASE_URL; if it has no TLS, use sslmode=disable.",
    ),
    (
        (WrongTimeZone,),
        "The pooler at {place} ignores the time zone that Howdah asks for, which is UTC.",
        "Make it the default: ALTER ROLE {user} SET timezone = 'UTC'; then restart the pooler.",
    ),
    (
        (ssl.SSLError,),
        "TLS with the database at {place} failed: {detail}.",
        "Check sslmode and sslrootcert in its URL: HOWDAH_DATABASE_URL, or the direct one.",
    ),
    (
        (socket.gaierror,),
        "The database host {host!r} cannot be resolved.",
        "Check the host in HOWDAH_DATABASE_URL and this machine's name resolution.",
    ),
    (
        (TimeoutError,),
        "The database at {place} did not answer in time.",
        "Check that it runs, is PostgreSQL, and is not blocked by a firewall.",
    ),
    (
        (OSError, asyncpg.ConnectionDoesNotExistError),
        "No PostgreSQL server responds at {place}.",
        "Check that it runs and listens there.",
    ),
)


_KEPT_ALIVE = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""A server that nobody tells of a vanished client keeps its locks for two hours."""

LONGEST_PAUSE = {"idle_in_transaction_session_timeout": "10s"}
"""A process that is frozen within a transaction holds its locks this long. It is found dead after
15 seconds (db.replicas), so its transaction can not end after others have taken over its work."""


_UTC = {"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Universal", "Zulu", "Etc/UCT", "UCT"}

_ANSWERED_LAST: dict[tuple[tuple[str, int], ...], tuple[str, int]] = {}
"""The host that answered last, by the hosts of a URL."""


async def connect(
    url: DatabaseUrl,
    *,
    application_name: str = "howdah",
    statement_timeout_ms: int = 60_000,
    settings: Mapping[str, str] | None = None,
) -> asyncpg.Connection:
    """Opens one connection in one attempt.

    What is or may be a pooler in transaction mode gets no settings but the name and the time zone,
    which poolers keep for each client: others would be left to the next client.
    """
    # A pooler may run each statement on another server connection: prepare none.
    connection = await _connect_to_any(
        url,
        ssl=url.ssl,
        connection_class=connection_class(),
        command_timeout=statement_timeout_ms / 1000,
        statement_cache_size=0 if url.pooled else PREPARED_STATEMENTS,
        server_settings={"timezone": "UTC"}
        | ({} if url.pooled else {"application_name": application_name}),
    )
    _require_utc(connection)
    await _set_json_codecs(connection)
    if url.pooled is False:
        await keep_settings(connection, settings or {})
    return connection


async def _connect_to_any(url: DatabaseUrl, **options: Any) -> asyncpg.Connection:
    """Connects to the first host that answers, and is what `target_session_attrs` asks for.

    Each of several hosts has a time of its own, because one that has vanished does not answer at
    all. The one that answered last is asked first, so that this time is paid once.

    Raises the error of the last host. Those of the others are its cause, as a group, and each has
    its host as a note.
    """
    timeout = HOST_S if len(url.hosts) > 1 else ONLY_HOST_S
    last = _ANSWERED_LAST.get(url.hosts)
    failures: list[Exception] = []
    for host, port in sorted(url.hosts, key=lambda place: place != last):
        try:
            return await _connect_to(url, host, port, timeout=timeout, **options)
        except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
            error.add_note(format_address(host, port, quoted=False))
            failures.append(error)
    *others, final = failures
    raise final from (ExceptionGroup("no other host", others) if others else final.__cause__)


async def _connect_to(url: DatabaseUrl, host: str, port: int, **options: Any) -> asyncpg.Connection:
    try:
        connection: asyncpg.Connection = await asyncpg.connect(
            url.dsn, host=host, port=port, **options
        )
    except ConnectionError as error:
        if "rejected SSL upgrade" in str(error):  # asyncpg has no exception class for this
            raise TlsRefused(str(error)) from error
        raise
    _ANSWERED_LAST[url.hosts] = host, port
    return connection


async def keep_settings(connection: asyncpg.Connection, settings: Mapping[str, str]) -> None:
    """Sets them, and those of every connection, for the whole session.

    Raises:
        ConnectionError: the server has ended the connection meanwhile.
    """
    # Not in the login, where a pooler in session mode refuses them.
    wanted = _KEPT_ALIVE | dict(settings)
    try:
        await connection.execute("; ".join(f"SET {name} = '{wanted[name]}'" for name in wanted))
    except _MISUSED as error:
        connection.terminate()
        raise ConnectionResetError("the connection ended after the login") from error
    except BaseException:
        connection.terminate()
        raise


def _require_utc(connection: asyncpg.Connection) -> None:
    """The server reports its time zone. Timestamps are read as it writes them (`db.kit.base`)."""
    zone = getattr(connection.get_settings(), "TimeZone", "UTC")
    if zone not in _UTC:
        connection.terminate()
        raise WrongTimeZone(zone)


async def _set_json_codecs(connection: asyncpg.Connection) -> None:
    """Passes JSONB as text, because SQLAlchemy's type encodes it. Sends no query.

    JSON is what timestamps are read as (`db.kit.base`).
    """
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda text: b"\x01" + text.encode(),
        decoder=lambda data: json.loads(data[1:]),
    )
    await connection.set_type_codec(
        "json",
        schema="pg_catalog",
        format="binary",
        encoder=str.encode,
        decoder=msgspec.json.Decoder().decode,
    )


async def connect_with_retry(
    attempt: Callable[[], Awaitable[T]], url: DatabaseUrl, deadline: float
) -> T:
    """Retries transient errors until `deadline`.

    Raises:
        Unavailable: the last attempt failed; the message gives the cause.
    """
    try:
        return await retry(
            attempt,
            on=_PASSING,
            unless=_LASTING,
            backoff=BACKOFF,
            deadline=deadline,
            report=lambda error: log.info(
                "the database at %s is not available yet: %s", url, type(error).__name__
            ),
        )
    except REFUSALS as refusal:
        raise connection_error(refusal, url) from refusal


def create_engine(url: DatabaseUrl) -> "AsyncEngine":
    """An SQLAlchemy engine for alembic, without a pool."""
    from sqlalchemy.ext.asyncio import create_async_engine

    async def open_connection(*_: Any, **__: Any) -> asyncpg.Connection:
        return await connect(url, statement_timeout_ms=MIGRATION_MS)

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=open_connection, poolclass=NullPool
    )


def connection_error(error: Exception, url: DatabaseUrl) -> Unavailable:
    """An error with cause and hint for a failed connection. Never holds the password."""
    if not isinstance(error.__cause__, ExceptionGroup):
        message, hint = _reason(error, url)
        return Unavailable(message, hint=hint, retry_after_s=1)
    failures = [*error.__cause__.exceptions, error]
    reasons = dict(_reason(failure, url) for failure in failures)
    return Unavailable(
        f"No host of the database can be used. {' '.join(reasons)}",
        hint=" ".join(dict.fromkeys(reasons.values())),
        retry_after_s=1,
    )


def _reason(error: Exception, url: DatabaseUrl) -> tuple[str, str]:
    """Message and hint for the failure of one host, which is its note, or of the only one."""
    place = next(iter(getattr(error, "__notes__", ())), url.place)
    message, hint = next(
        ((message, hint) for kinds, message, hint in _REASONS if isinstance(error, kinds)),
        (
            "The database at {place} refused the connection: {detail}.",
            "Read the database's log; run `howdah doctor` to check the settings.",
        ),
    )
    words = {
        "place": place,
        "user": url.user,
        "database": url.database,
        "host": place.rpartition(":")[0],
        "detail": _detail(error),
    }
    return message.format(**words), hint.format(**words)


def _detail(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "no reason was given"
    return str(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__


def translate_error(
    error: Exception, driver: Any, *, is_reading: bool = False
) -> HowdahError | None:
    """Translates one of FAILURES; returns None if the statement itself is the cause.

    `is_reading` if the statement stands alone and changes nothing.
    """
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return TimedOut(
            "The statement exceeded its timeout and was cancelled.",
            hint="Request less data, or try again when the database is less busy.",
        )
    if isinstance(error, asyncpg.LockNotAvailableError):
        return Unavailable(
            "The statement waited too long for a lock that another operation holds.",
            hint="Nothing was changed; try again in a moment.",
            retry_after_s=1,
        )
    if isinstance(error, _FULL):
        return Unavailable(
            "The database does not accept changes: its disk is full, or it is read-only.",
            hint="Nothing was changed, and reads still work. Ask the operator to follow "
            "docs/operating.md.",
            retry_after_s=60,
        )
    if isinstance(error, _MISUSED) and not driver.is_closed():
        return None
    return Dropped(
        "The connection to the database dropped.",
        hint=_READ_DROPPED if is_reading else _CHANGE_DROPPED,
        retry_after_s=1,
    )
