"""What a running Howdah is made of, opened in order and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from db.engine import Database, open_database
from db.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Opened once per process, handed to every request through its context."""

    settings: Settings
    database: Database


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    async with contextlib.AsyncExitStack() as stack:
        assert settings.database_url is not None  # noqa: S101
        database = await open_database(
            settings.database_url,
            pool_size=settings.database_pool_size,
            wait_ms=settings.database_wait_ms,
            connect_ms=settings.database_connect_ms,
        )
        stack.push_async_callback(database.close)
        yield Services(settings=settings, database=database)
