"""PgBouncer in transaction mode: several processes share fewer server connections."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from db.postgres.engine import open_database
from db.postgres.route.connect import connect
from db.postgres.route.pooling import NO_DIRECT_URL, check_direct_url
from db.postgres.route.urls import parse_url
from tests.fixtures.connected import connected
from tests.fixtures.network import Link
from tests.fixtures.notes import CREATE, others, read, terminate_all
from tests.fixtures.pgbouncer import (
    PGBOUNCER,
    SERVER_CONNECTIONS,
    has_prepared_statements,
    pgbouncer,
)
from tests.fixtures.pooler_client import CHANGES

PROCESSES = 3
ROOT = Path(__file__).parents[4]

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")


@pytest.fixture
async def observer(committed_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that bypasses the pooler."""
    async with connected(committed_url) as connection:
        yield connection


@pytest.fixture(
    params=[
        "",
        pytest.param(
            "max_prepared_statements = 200",
            marks=pytest.mark.skipif(
                not has_prepared_statements(), reason="this pgbouncer is older than 1.21"
            ),
        ),
    ],
    ids=["plain", "renaming prepared statements"],
)
async def pooled_url(
    committed_url: str, observer: asyncpg.Connection, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    await observer.execute("CREATE TYPE mood AS ENUM ('GOOD', 'BAD')")
    await observer.execute(CREATE.sql)
    await observer.execute("INSERT INTO notes (id) VALUES (1), (2)")
    async with pgbouncer(committed_url, request.param) as url:
        yield url


async def client(url: str, number: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fixtures.pooler_client", url, str(number)),
        cwd=ROOT,
        stderr=PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def test_pooler_returns_each_process_its_own_results(
    pooled_url: str, observer: asyncpg.Connection
) -> None:
    await asyncio.gather(*(client(pooled_url, number) for number in range(1, PROCESSES + 1)))
    assert await observer.fetchval("SELECT sum(n) FROM notes") == PROCESSES * CHANGES
    assert await others(observer) <= SERVER_CONNECTIONS


async def test_each_client_has_its_own_time_zone(
    committed_url: str, observer: asyncpg.Connection
) -> None:
    name = await observer.fetchval("SELECT current_database()")
    await observer.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Europe/Berlin'")
    async with pgbouncer(committed_url, "") as url, connected(url) as other:
        ours = await connect(parse_url(url))
        for _ in range(3):
            await other.execute("SET timezone = 'America/St_Johns'")
            found = await ours.fetchval("SELECT to_json(timestamptz '2026-07-01 12:00Z')")
            assert found == "2026-07-01T12:00:00+00:00"
        await ours.close()


async def test_pooler_survives_closed_server_connection(
    pooled_url: str, observer: asyncpg.Connection
) -> None:
    database = await open_database(pooled_url, pool_size=4)
    await asyncio.gather(*(read(database, n) for n in range(8)))
    await terminate_all(observer)
    assert await asyncio.gather(*(read(database, n) for n in range(8))) == list(range(8))
    await database.close()


async def is_pooled(url: str, direct_url: str | None = None) -> bool:
    """Also runs statements, more than there are connections."""
    database = await open_database(url, direct_url=direct_url, pool_size=4)
    try:
        assert await asyncio.gather(*(read(database, n) for n in range(8))) == list(range(8))
        return database.is_pooled
    finally:
        await database.close()


async def test_pooler_in_session_mode_and_direct_connection_are_not_pooled(
    committed_url: str,
) -> None:
    assert not await is_pooled(committed_url)
    async with pgbouncer(committed_url, mode="session", connections=20) as url:
        assert not await is_pooled(url)


@pytest.mark.parametrize("connections", [1, 20])
async def test_pooler_is_found_by_its_behaviour(committed_url: str, connections: int) -> None:
    async with pgbouncer(committed_url, connections=connections) as url:
        assert await is_pooled(url)


async def test_url_that_differs_from_the_direct_one_is_pooled(committed_url: str) -> None:
    server = parse_url(committed_url)
    async with Link.opened(server.host, server.port) as link:
        url = committed_url.replace(server.place, f"127.0.0.1:{link.port}")
        assert await is_pooled(url, committed_url)
        assert not await is_pooled(f"{url}?pgbouncer=false", committed_url)


async def test_direct_url_through_a_pooler_is_reported(
    committed_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pgbouncer(committed_url) as url:
        assert await check_direct_url(url, committed_url) == committed_url
        assert caplog.messages == []
        for direct_url in (url, url.replace("127.0.0.1", "localhost")):
            assert parse_url(await check_direct_url(url, direct_url)).pooled
    assert caplog.messages == [NO_DIRECT_URL, NO_DIRECT_URL]
