"""A database that stops answering: reads fail soon, changes wait, and all goes on after it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

import pytest
from sqlalchemy import text

from db.errors import HowdahError
from db.postgres.engine import Database, open_database
from db.postgres.statements import compile_change
from tests.fixtures import brokers
from tests.fixtures.brokers import Broker
from tests.fixtures.notes import ADD, BUMP, COUNT, CREATE, SLOW_ECHO, SUM, lent_by, read
from tests.fixtures.patience import patience
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer

pytestmark = pytest.mark.usefixtures("real_limits")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with brokers.running("postgres", tmp_path_factory.mktemp("frozen") / "pg") as running:
        yield running


@pytest.fixture(params=["direct", "pooled"])
async def database(server: Broker, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    async with contextlib.AsyncExitStack() as stack:
        url = server.url
        if request.param == "pooled":
            if PGBOUNCER is None:
                pytest.skip("there is no pgbouncer on this machine")
            url = await stack.enter_async_context(pgbouncer(url, "server_login_retry = 1"))
            url += "&pgbouncer=true"
        opened = await open_database(url, direct_url=server.url, pool_size=4)
        stack.push_async_callback(opened.close)
        yield opened


@pytest.fixture
async def table(database: Database) -> AsyncIterator[None]:
    await database.transaction(lambda session: session.rows(CREATE))
    await database.write(lambda session: session.rows(ADD, id=1))
    yield
    await database.transaction(lambda session: session.rows(DROP))


async def outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except HowdahError as error:
        return f"{error.code}: {error.message}"
    return "answered"


DROP = compile_change(text("DROP TABLE notes"))
SILENT = "UNAVAILABLE: The database does not answer."


async def test_frozen_database_fails_reads_and_keeps_changes(
    database: Database, server: Broker, table: None
) -> None:
    assert await read(database, 1) == 1
    with brokers.frozen(server):
        change = asyncio.create_task(database.write(lambda session: session.rows(BUMP, id=1)))
        reads = [read(database, number) for number in range(20)]  # more than there are connections
        many = [database.read().rows(COUNT) for _ in range(20)]  # gathered
        async with patience():
            found = await asyncio.gather(*map(outcome, [*reads, *many]))
        assert set(found) == {SILENT}
        assert await outcome(read(database, 1)) == SILENT
        assert await outcome(database.ping()) == SILENT
        assert await outcome(database.write(lambda session: session.rows(BUMP, id=1))) == SILENT
        assert not change.done()
    async with patience():
        await change
        while await outcome(read(database, 1)) != "answered":  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
    assert await database.read().value(SUM) == 1
    assert lent_by(database) == 0


async def test_slow_statements_of_a_healthy_database_are_not_touched(database: Database) -> None:
    """Longer than the silence after which the database counts as frozen."""
    async with patience():
        slow = [database.read().value(SLOW_ECHO, number=n, pause=4) for n in range(2)]
        assert await asyncio.gather(*slow) == [0, 1]
