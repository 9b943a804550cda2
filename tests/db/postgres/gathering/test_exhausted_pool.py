"""Gathered statements at an exhausted pool."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from db.errors import Overloaded
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database, open_database
from db.postgres.gathering import gatherer, queues
from db.postgres.leases import Lease
from db.tasks import Tasks
from tests.fixtures.database import connections_in_use
from tests.fixtures.patience import PATIENCE_S, patience

Work = Callable[[Database, OwnerId], Awaitable[Any]]


async def get(database: Database, owner: OwnerId) -> object:
    async with database.read() as session:
        return await Tasks(session, owner).get(new_id())


async def create(database: Database, owner: OwnerId) -> object:
    return await database.write(lambda session: Tasks(session, owner).create(title="x"))


class Gate:
    """Stands before the connections of a database: `open` lets the next acquirers through."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, *, free: int) -> None:
        self.tried = 0
        self._free = asyncio.Semaphore(free)
        self._acquire = database._source.acquire
        monkeypatch.setattr(database._source, "acquire", self._pass)

    def open(self, count: int) -> None:
        for _ in range(count):
            self._free.release()

    async def _pass(self) -> Lease:
        self.tried += 1
        await self._free.acquire()
        return await self._acquire()


async def all_ended(database: Database) -> None:
    async with patience():
        while database._gatherer._started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)


@pytest.mark.parametrize("work", [get, create])
async def test_call_waits_once(
    work: Work,
    committed_url: str,
    committed_owner: OwnerId,
    observer: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not in the queue of its statement, and then for a connection."""
    database = await open_database(committed_url, pool_size=1, wait_ms=100)
    async with connections_in_use(database):
        gate = Gate(database, monkeypatch, free=queues.FEWEST)
        calls = [work(database, committed_owner) for _ in range(6)]
        async with patience():
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [Overloaded] * 6
    gate.open(6)
    await all_ended(database)
    assert not await observer.fetch("SELECT id FROM tasks")  # what was refused is not done
    await database.close()


async def test_read_that_waits_for_a_connection_is_not_split_up(
    committed: Database, committed_owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not slow: it was not sent."""
    for name in ("_size", "concurrency"):
        monkeypatch.setattr(committed._gatherer, name, queues.FEWEST)
    monkeypatch.setattr(queues, "BATCH_TAKES_S", 1)
    await get(committed, committed_owner)
    gate = Gate(committed, monkeypatch, free=0)
    calls = [asyncio.ensure_future(get(committed, committed_owner)) for _ in range(6)]
    monkeypatch.setattr(gatherer, "SLOW_READ_S", 0)
    gate.open(2)
    async with patience():
        while gate.tried < 3:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # much longer than a round trip
    monkeypatch.setattr(gatherer, "SLOW_READ_S", PATIENCE_S)
    gate.open(6)
    assert await asyncio.gather(*calls) == [None] * 6
    assert gate.tried == 3
