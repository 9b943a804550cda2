"""Howdah's own database: the embedded PostgreSQL or that of the settings."""

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from db.errors import BadInput
from db.postgres.engine import Database, open_database
from db.postgres.route.pooling import check_direct_url
from db.postgres.route.urls import DatabaseUrl, parse_url
from db.postgres.schema import migrations
from db.settings import Settings

if TYPE_CHECKING:
    from db.postgres.embedded import EmbeddedPostgres

log = logging.getLogger(__name__)

_BETWEEN_URLS = re.compile(r"[\s,]+(?=postgres[a-z0-9+]*://)")
"""The hosts of one URL are also separated by commas."""


class SharedPostgres(NamedTuple):
    """The embedded PostgreSQL of the parent process."""

    url: str
    findings: Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDatabase:
    """Howdah's own database with its direct URL, for `howdah migrate` and `doctor`."""

    database: Database
    direct_url: str
    embedded: "EmbeddedPostgres | None"


@contextlib.asynccontextmanager
async def open_own_database(
    settings: Settings, shared: SharedPostgres | None = None
) -> AsyncIterator[OwnDatabase]:
    """Opens the database without migrating it."""
    async with contextlib.AsyncExitStack() as stack:
        embedded = None if shared else await _open_embedded(settings, stack)
        url, direct_url = _urls(settings, shared or embedded)
        database = await open_database(
            url,
            direct_url=direct_url,
            pool_size=settings.database_pool_size,
            wait_ms=settings.database_wait_ms,
            connect_ms=settings.database_connect_ms,
            lock_ms=settings.database_lock_ms,
        )
        stack.push_async_callback(database.close)
        database.report_slow_statements(
            limit_ms=settings.slow_statement_ms, plans=settings.slow_statement_plans
        )
        if database.is_pooled:
            direct_url = await check_direct_url(url, direct_url)
        yield OwnDatabase(database=database, direct_url=direct_url, embedded=embedded)


async def migrate(own: OwnDatabase) -> bool:
    """Applies pending migrations; returns False if there were none."""
    async with own.database.read() as session:
        if await migrations.is_current(session):
            return False
    log.info("migrating the database to %s", migrations.head())
    await migrations.upgrade(own.direct_url)
    return True


async def _open_embedded(
    settings: Settings, stack: contextlib.AsyncExitStack
) -> "EmbeddedPostgres | None":
    if not settings.embedded:
        return None
    from db.postgres.embedded import (
        EmbeddedPostgres,  # not needed with an external database
    )

    return await stack.enter_async_context(
        await EmbeddedPostgres.open(settings.data_dir / "postgres")
    )


def split_urls(urls: str) -> list[str]:
    return _BETWEEN_URLS.split(urls.strip())


def standby_urls(settings: Settings) -> list[DatabaseUrl]:
    """The URLs of HOWDAH_READ_DATABASE_URLS.

    Raises:
        BadInput: one of them cannot be used.
    """
    if settings.read_database_urls is None:
        return []
    try:
        urls = [parse_url(url) for url in split_urls(settings.read_database_urls)]
    except BadInput as error:
        raise BadInput(f"HOWDAH_READ_DATABASE_URLS: {error.message}", hint=error.hint) from None
    if any(url.pooled for url in urls):
        raise BadInput(
            "A URL of HOWDAH_READ_DATABASE_URLS leads through a pooler.",
            hint="Use the address of the standby itself: a pooler may lead each statement to "
            "another server.",
        )
    return urls


def _urls(
    settings: Settings, embedded: "EmbeddedPostgres | SharedPostgres | None"
) -> tuple[str, str]:
    if embedded is not None:
        return embedded.url, embedded.url
    url = settings.database_url or ""
    if settings.direct_database_url is None:
        return url, url
    try:
        parse_url(settings.direct_database_url)
    except BadInput as error:
        raise BadInput(f"HOWDAH_DIRECT_DATABASE_URL: {error.message}", hint=error.hint) from None
    return url, settings.direct_database_url
