"""Finds out by behaviour whether a pooler is between Howdah and its database.

A pooler in transaction mode (PgBouncer, Odyssey, Supavisor) may run each transaction on another
connection of the server. Prepared statements and settings of a session do not survive it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

import asyncpg

from db.errors import Unavailable
from db.postgres.route.connect import LONGEST_PAUSE, connect, connect_with_retry, keep_settings
from db.postgres.route.urls import DatabaseUrl, mark_pooled, parse_url

log = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[], Awaitable[asyncpg.Connection]]

CONNECT_S = 10.0
ROUNDS = 5
WAIT_S = 2.0
"""A transaction that waits longer for a backend waits for one that another client uses."""
_BACKEND = "SELECT pg_backend_pid()"
NO_DIRECT_URL = (
    "HOWDAH_DIRECT_DATABASE_URL does not bypass the pooler of the database: events by LISTEN and "
    "locks of migrations do not work"
)


async def is_direct(connection: asyncpg.Connection) -> bool:
    """Whether the server that answered the login runs the statements.

    A pooler and some proxies answer logins themselves, with a process ID of their own.
    """
    # As a simple query, which prepares no statement: its tag counts the rows.
    pid = connection.get_server_pid()
    found: str = await connection.execute(f"{_BACKEND} WHERE pg_backend_pid() = {pid}")
    return found == "SELECT 1"


async def shares_backends(url: DatabaseUrl) -> bool:
    """Whether another client gets the backend of a connection between its transactions."""
    unprepared = replace(url, pooled=True)
    try:
        async with _opened(unprepared) as first, _opened(unprepared) as second:
            return await _takes_backend(first, second)
    except (Unavailable, OSError, asyncpg.PostgresError):
        return True  # no backend is free: what works behind any pooler works here too


async def _takes_backend(first: asyncpg.Connection, second: asyncpg.Connection) -> bool:
    for _ in range(ROUNDS):
        backend = await first.fetchval(_BACKEND, timeout=WAIT_S)
        # A pooler in transaction mode gives it the backend that is free now.
        await second.execute("BEGIN", timeout=WAIT_S)
        if await first.fetchval(_BACKEND, timeout=WAIT_S) != backend:
            return True
        await second.execute("ROLLBACK", timeout=WAIT_S)
    return False


async def is_pooled(url: DatabaseUrl, connection: asyncpg.Connection) -> bool:
    """Whether a pooler in transaction mode is between `connection` and the server of `url`."""
    return not await is_direct(connection) and await shares_backends(url)


class Route:
    """The way to the database, which may lead through a pooler."""

    def __init__(
        self, url: str, direct_url: str | None, *, statement_timeout_ms: int, lock_ms: int
    ) -> None:
        self._target, self._direct = parse_url(url), parse_url(direct_url or url)
        self._statement_timeout_ms = statement_timeout_ms
        self._lock_ms = lock_ms
        self._settings = LONGEST_PAUSE | {"lock_timeout": str(lock_ms)}
        self._is_bypassed = self._direct.hosts != self._target.hosts
        if self._target.pooled is None and self._is_bypassed:
            self._target = replace(self._target, pooled=True)

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler in transaction mode is in between."""
        return bool(self._target.pooled)

    @property
    def transaction_lock_ms(self) -> int:
        """The limit that each transaction has to set, because sessions do not keep it."""
        return self._lock_ms if self.is_pooled else 0

    @property
    def log_in(self) -> Connect | None:
        """Connects to a pooler that `connect_directly` bypasses."""
        return self.connect if self._is_bypassed else None

    async def open_first(self, deadline: float) -> asyncpg.Connection:
        """Opens the first connection, and finds out whether there is a pooler."""
        first = await self.connect_until(deadline)
        if self._target.pooled is not None:
            return first
        self._target = replace(self._target, pooled=await is_pooled(self._target, first))
        if not self.is_pooled:
            await keep_settings(first, self._settings)
            return first
        first.terminate()  # it would prepare statements
        return await self.connect_until(deadline)

    def connect_until(self, deadline: float) -> Awaitable[asyncpg.Connection]:
        return connect_with_retry(self.connect, self._target, deadline)

    def connect(self) -> Awaitable[asyncpg.Connection]:
        return connect(
            self._target,
            statement_timeout_ms=self._statement_timeout_ms,
            settings=self._settings,
        )

    def connect_directly(self) -> Awaitable[asyncpg.Connection]:
        return connect(self._direct, application_name="howdah pulse")


async def check_direct_url(url: str, direct_url: str) -> str:
    """Returns the direct URL of a pooled database; one that leads through a pooler too says so."""
    direct = parse_url(direct_url)
    if direct.hosts != parse_url(url).hosts and not await is_url_pooled(direct):
        return direct_url
    log.warning(NO_DIRECT_URL)
    return direct_url if direct.pooled is not None else mark_pooled(direct_url)


async def is_url_pooled(url: DatabaseUrl, *, probe: bool = False) -> bool:
    """What the URL says, or what its pooler does; with `probe` the latter in any case."""
    if url.pooled is not None and not probe:
        return url.pooled
    async with _opened(replace(url, pooled=None)) as connection:
        return await is_pooled(url, connection)


@contextlib.asynccontextmanager
async def _opened(url: DatabaseUrl) -> AsyncIterator[asyncpg.Connection]:
    deadline = asyncio.get_running_loop().time() + CONNECT_S
    connection = await connect_with_retry(lambda: connect(url), url, deadline)
    try:
        yield connection
    finally:
        connection.terminate()
