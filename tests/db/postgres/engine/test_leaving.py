"""Timeouts, cancellations, an exhausted pool, and the end of the engine."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from db.errors import Overloaded, TimedOut, Unavailable
from db.postgres.engine import RESERVED, Database, open_database
from db.postgres.sessions import ReadSession, Session
from tests.fixtures import brokers
from tests.fixtures.database import connections_in_use
from tests.fixtures.notes import (
    ADD,
    HAS,
    SLOW,
    SLOW_ECHO,
    lent_by,
    once_it_sleeps,
    others,
    read,
)
from tests.fixtures.patience import patience


@pytest.mark.parametrize("way", ["read", "transaction", "write"])
async def test_statement_timeout_ends_statement_on_server(
    hasty: Database, observer: asyncpg.Connection, way: str
) -> None:
    async def slow(session: ReadSession) -> None:
        await session.value(SLOW)

    async def slow_read(work: Callable[[ReadSession], Awaitable[None]]) -> None:
        async with hasty.read() as session:
            await work(session)

    run = slow_read if way == "read" else getattr(hasty, way)
    with pytest.raises(TimedOut, match="exceeded its timeout"):
        await run(slow)
    assert await read(hasty, 7) == 7
    assert not await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' "
        "AND state = 'active' AND datname = current_database()"
    )


async def test_statement_cancelled_by_operator_is_timed_out(
    committed: Database, observer: asyncpg.Connection
) -> None:
    slow = asyncio.create_task(committed.transaction(lambda session: session.value(SLOW)))
    await once_it_sleeps(observer, "pg_cancel_backend(pid)")
    with pytest.raises(TimedOut):
        await slow


async def test_cancelled_reads_do_not_disturb_others(
    committed_url: str, observer: asyncpg.Connection
) -> None:
    chance = random.Random(7)  # noqa: S311 - a schedule that can be had again
    database = await open_database(committed_url, pool_size=3)

    async def ask(number: int) -> None:
        async with database.read() as session:
            for n in range(number, number + 3):
                pause = chance.choice([0, 0, 0.002])
                assert await session.value(SLOW_ECHO, number=n, pause=pause) == n

    async def leave(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(chance.random() * 0.05)
        task.cancel()

    staying = [asyncio.create_task(ask(1_000 + n * 10)) for n in range(100)]
    leaving = [asyncio.create_task(ask(n * 10)) for n in range(100)]
    await asyncio.gather(*(leave(task) for task in leaving))
    ends = await asyncio.gather(*leaving, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert any(isinstance(end, asyncio.CancelledError) for end in ends)
    await asyncio.gather(*staying)
    assert await others(observer) <= 3
    assert lent_by(database) == 0
    await database.close()


@pytest.mark.parametrize("way", ["transaction", "write"])
async def test_cancelled_write_does_not_affect_next_write(
    notes: Database, narrow: Database, way: str
) -> None:
    """Also when it left between sending BEGIN and hearing of it."""

    async def add(session: Session, *, row_id: int) -> None:
        await session.rows(ADD, id=row_id)

    kept = 0
    for steps in range(60):
        leaver = asyncio.create_task(getattr(narrow, way)(partial(add, row_id=1_000 + steps)))
        for _ in range(steps // 2):
            await asyncio.sleep(0)
        leaver.cancel()
        await narrow.write(partial(add, row_id=steps))
        async with notes.read() as session:
            kept += await session.value(HAS, id=steps)
        await asyncio.gather(leaver, return_exceptions=True)
    assert kept == 60


async def test_health_check_works_while_pool_is_exhausted(committed_url: str) -> None:
    database = await open_database(committed_url, pool_size=1, wait_ms=50)
    async with connections_in_use(database):
        with pytest.raises(Overloaded):
            await read(database, 1)
        await database.ping()
    await database.close()


async def test_reserved_transactions_use_the_pool_while_it_has_free_connections(
    committed: Database,
) -> None:
    begun, end = asyncio.Semaphore(0), asyncio.Event()

    async def hold(_: object) -> None:
        begun.release()
        await end.wait()

    async with asyncio.TaskGroup() as holders, patience():
        for _ in range(committed.size + RESERVED):
            holders.create_task(committed.transaction(hold, reserved=True))
            await begun.acquire()
        assert committed.in_use == committed.size
        end.set()


@pytest.mark.usefixtures("real_limits")
async def test_health_check_fails_fast_when_server_is_silent(tmp_path: Path) -> None:
    async with brokers.running("postgres", tmp_path / "pg") as server:
        database = await open_database(server.url)
        await database.ping()
        with brokers.frozen(server), pytest.raises(Unavailable, match="did not answer within"):
            await database.ping()
        await database.ping()
        await database.close()


async def test_close_leaves_no_connection(committed_url: str, observer: asyncpg.Connection) -> None:
    database = await open_database(committed_url, pool_size=8)
    await asyncio.gather(*(read(database, n) for n in range(20)), database.ping())
    await database.close()
    async with patience():
        while await others(observer):  # noqa: ASYNC110 - of another process: no event
            await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="stopping"):
        await read(database, 1)
