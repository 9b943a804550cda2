"""Connecting to our own database: patiently, and with words for what went wrong."""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from db.errors import Unavailable
from db.urls import DatabaseUrl

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0

# Waiting may help: it starts, restarts, or has no place just now.
_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
DROPPED = (
    ConnectionError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""What tells that the connection is gone, whatever it was doing."""


_REASONS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "The database at {place} refused the user {user!r}.",
        "Check user and password in HOWDAH_DATABASE_URL; encode special characters as %XX.",
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        "There is no database {database!r} at {place}.",
        "Create it (CREATE DATABASE {database}) or correct HOWDAH_DATABASE_URL.",
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        "The database at {place} has no connection left.",
        "Raise its max_connections or lower HOWDAH_DATABASE_POOL_SIZE.",
    ),
    (
        (asyncpg.CannotConnectNowError,),
        "The database at {place} is starting up or shutting down.",
        "Wait until it is ready.",
    ),
    (
        (ssl.SSLError,),
        "TLS with the database at {place} failed: {detail}.",
        "Check sslmode and sslrootcert in HOWDAH_DATABASE_URL.",
    ),
    (
        (socket.gaierror,),
        "The database's host {host!r} is not known.",
        "Check the host in HOWDAH_DATABASE_URL and this machine's name resolution.",
    ),
    (
        (TimeoutError,),
        "The database at {place} did not answer in time.",
        "Check that it runs and that no firewall lies between.",
    ),
    (
        (OSError,),
        "Nothing that speaks as PostgreSQL should answers at {place}.",
        "Check that it runs and listens there; without TLS on its side, use sslmode=disable.",
    ),
)


async def dial(url: DatabaseUrl, *, application_name: str = "howdah") -> asyncpg.Connection:
    """One connection, one attempt."""
    # behind a pooler the next statement may meet another server connection: nothing is prepared
    return await asyncpg.connect(
        url.dsn,
        ssl=url.ssl,
        timeout=10,
        command_timeout=60,
        statement_cache_size=0 if url.pooled else 100,
        server_settings={} if url.pooled else {"application_name": application_name},
    )


async def patiently(attempt: Callable[[], Awaitable[T]], url: DatabaseUrl, *, within_ms: int) -> T:
    """Tries again with growing, jittered pauses while waiting may help; then says why not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_ms / 1000
    pause = FIRST_PAUSE_S
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                return await attempt()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
            if not _passing(error) or loop.time() + wait >= deadline:
                raise explained(error, url) from error
            log.info("the database at %s does not answer yet: %s", url, type(error).__name__)
        await asyncio.sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE_S)


def _passing(error: Exception) -> bool:
    return isinstance(error, _PASSING) and not isinstance(error, ssl.SSLError)


def explained(error: Exception, url: DatabaseUrl) -> Unavailable:
    """What is wrong with the way to the database and what to do. Never the URL's password."""
    message, hint = _reason(error, url)
    return Unavailable(message, hint=hint, retry_after_s=1)


def _reason(error: Exception, url: DatabaseUrl) -> tuple[str, str]:
    place = f"{url.host}:{url.port}"
    for kinds, message, hint in _REASONS:
        if isinstance(error, kinds):
            detail = str(getattr(error, "reason", ""))
            return tuple(  # type: ignore[return-value]  # two strings in, two strings out
                words.format(
                    place=place, user=url.user, database=url.database, host=url.host, detail=detail
                )
                for words in (message, hint)
            )
    return (
        f"The database at {place} refused the connection: {type(error).__name__}.",
        "Its own log says more; `howdah doctor` checks the settings.",
    )
