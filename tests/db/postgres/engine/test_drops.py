"""Statements that are retried when a connection drops, and those that never are."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from db.errors import Unavailable
from db.postgres.engine import Database, open_database
from db.postgres.route.connect import Dropped
from db.postgres.sessions import ReadSession, Session
from tests.fixtures import brokers
from tests.fixtures.cluster import Cluster
from tests.fixtures.connected import connected
from tests.fixtures.database import named
from tests.fixtures.notes import (
    ADD,
    ADD_SLOWLY,
    ECHO,
    SLOW,
    lent_by,
    once_it_sleeps,
    others,
    read,
    terminate_all,
)


async def test_read_is_retried_after_dropped_connection(
    committed: Database, observer: asyncpg.Connection
) -> None:
    await asyncio.gather(*(read(committed, n) for n in range(8)))
    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(committed.read()) for _ in range(8)]
        await terminate_all(observer)
        found = await asyncio.gather(*(s.value(ECHO, number=n) for n, s in enumerate(sessions)))
    assert found == list(range(8))
    assert await others(observer) <= 8


@pytest.mark.parametrize("way", ["read", "transaction", "write"])
async def test_drop_at_any_moment_is_unavailable(
    notes: Database, observer: asyncpg.Connection, way: str
) -> None:
    """Also between its last word and the end of the connection."""

    async def busy(session: ReadSession) -> None:
        while not over.is_set():
            assert await session.value(ECHO, number=7) == 7
            await asyncio.sleep(0)

    for _ in range(40):
        over = asyncio.Event()
        if way == "read":
            run = asyncio.create_task(with_a_session(notes, busy))
        else:
            run = asyncio.create_task(getattr(notes, way)(busy))
        await asyncio.sleep(0.001)
        await terminate_all(observer)
        over.set()
        if way == "read":
            await run
        else:
            with contextlib.suppress(Dropped):
                await run
    assert lent_by(notes) == 0


async def with_a_session(
    database: Database, work: Callable[[ReadSession], Awaitable[None]]
) -> None:
    async with database.read() as session:
        await work(session)


async def test_read_dropped_in_query_is_retried_once(
    committed: Database, observer: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a line in the log: in an outage, each check of the health is such a read."""
    caplog.set_level("INFO", "db.postgres.engine")

    async def read_slowly() -> None:
        async with committed.read() as session:
            await session.value(SLOW)

    task = asyncio.create_task(read_slowly())
    for _ in range(2):
        await once_it_sleeps(observer, "pg_terminate_backend(pid, 5000)")
    with pytest.raises(Dropped, match="dropped") as dropped:
        await task
    assert dropped.value.hint == "Try again in a moment."  # it has changed nothing
    assert await read(committed, 1) == 1
    assert "lost a connection" not in caplog.text


async def test_read_that_cannot_reconnect_returns_its_lease_once(
    cluster: Cluster, committed_url: str, observer: asyncpg.Connection
) -> None:
    name = committed_url.rpartition("/")[2]
    administrator = await asyncpg.connect(named(cluster.url, "postgres"))
    database = await open_database(committed_url, pool_size=2)
    async with database.read() as session:
        await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await terminate_all(observer)
        with pytest.raises(Unavailable, match="not currently accepting connections"):
            await session.value(ECHO, number=1)
    assert lent_by(database) == 0
    await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert await read(database, 1) == 1
    await database.close()
    await administrator.close()


async def test_transaction_is_not_retried_after_drop(
    notes: Database, observer: asyncpg.Connection
) -> None:
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await session.rows(ADD, id=1)
        await terminate_all(observer)
        await session.rows(ADD, id=2)

    with pytest.raises(Dropped, match="dropped") as dropped:
        await notes.transaction(work)
    assert dropped.value.retry_after_s is not None
    assert "may have been saved" in dropped.value.hint
    assert runs == 1
    assert await observer.fetchval("SELECT count(*) FROM notes") == 0


async def test_drop_between_statements_is_reported_once(
    notes: Database, observer: asyncpg.Connection
) -> None:
    async def work(session: Session) -> None:
        await session.rows(ADD, id=1)
        await terminate_all(observer)

    with pytest.raises(Dropped):
        await notes.transaction(work)
    assert await observer.fetchval("SELECT count(*) FROM notes") == 0


async def test_write_is_not_retried_after_drop(
    notes: Database, observer: asyncpg.Connection
) -> None:
    adding = asyncio.create_task(notes.write(lambda session: session.rows(ADD_SLOWLY, id=1)))
    await once_it_sleeps(observer, "pg_terminate_backend(pid)")
    with pytest.raises(Dropped) as dropped:
        await adding
    assert "may have been saved" in dropped.value.hint
    assert await observer.fetchval("SELECT count(*) FROM notes") == 0


async def test_error_is_not_hidden_by_failed_rollback(
    notes: Database, observer: asyncpg.Connection
) -> None:
    async def work(session: Session) -> None:
        await session.rows(ADD, id=1)
        await terminate_all(observer)
        raise LookupError("the first")

    with pytest.raises(LookupError, match="the first"):
        await notes.transaction(work)


async def test_restart_of_server_is_invisible_to_readers(tmp_path: Path) -> None:
    async with brokers.running("postgres", tmp_path / "pg") as server:
        database = await open_database(server.url, pool_size=4, wait_ms=60_000)
        await asyncio.gather(*(read(database, n) for n in range(16)))
        await server.kill()
        assert await asyncio.gather(*(read(database, n) for n in range(16))) == list(range(16))
        await database.ping()
        async with connected(server.url) as observer:
            assert await others(observer) <= 4 + 1
        await database.close()
