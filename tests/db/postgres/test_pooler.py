"""PgBouncer in transaction mode: several processes share fewer server connections."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from db.postgres.engine import open_database
from tests.fixtures.notes import CREATE, others, read, terminate_all
from tests.fixtures.pgbouncer import (
    PGBOUNCER,
    SERVER_CONNECTIONS,
    has_prepared_statements,
    pgbouncer,
)
from tests.fixtures.pooler_client import CHANGES

PROCESSES = 3
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")


@pytest.fixture
async def observer(committed_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that bypasses the pooler."""
    connection = await asyncpg.connect(committed_url)
    yield connection
    await connection.close()


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
        yield f"{url}&pgbouncer=true"


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


async def test_pooler_survives_closed_server_connection(
    pooled_url: str, observer: asyncpg.Connection
) -> None:
    database = await open_database(pooled_url, pool_size=4)
    await asyncio.gather(*(read(database, n) for n in range(8)))
    await terminate_all(observer)
    assert await asyncio.gather(*(read(database, n) for n in range(8))) == list(range(8))
    await database.close()
