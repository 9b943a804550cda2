"""Pages of concurrent callers share statements: short ones as rows do, others for connections."""

import asyncio

import pytest

from db.concurrency.fair_slots import FairSlots
from db.kit.base import OwnerId
from db.kit.lists.paging import Page, SortOrder, Window
from db.postgres.engine import Database
from db.postgres.gathering import gatherer, queues
from db.tasks import TaskFilter, TaskRow, Tasks
from tests.fixtures.database import Statements

NEWEST_FIRST = SortOrder("created_at", descending=True)


@pytest.fixture(autouse=True)
def two_pages_at_once(committed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the machine how many are sent together."""
    monkeypatch.setattr(committed._gatherer, "_size", 3)
    monkeypatch.setattr(queues, "BATCH_TAKES_S", 1)
    monkeypatch.setattr(queues, "SHORT_PAGE_S", 0)


async def create(database: Database, owner: OwnerId, title: str) -> None:
    await database.write(lambda session: Tasks(session, owner).create(title=title))


async def test_long_page_waits_for_connections_only(
    committed: Database,
    committed_owner: OwnerId,
    sent: Statements,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def page() -> Page[TaskRow]:
        async with committed.read() as session:
            return await Tasks(session, committed_owner).page(Window(5), TaskFilter(), NEWEST_FIRST)

    for title in "abcdef":
        await create(committed, committed_owner, title)
    for _ in range(20):  # each connection prepares its statement first
        await page()
    for size, together in ((20, False), (3, True)):
        monkeypatch.setattr(committed._gatherer, "_size", size)
        sent.clear()
        pages = await asyncio.gather(*(page() for _ in range(10)))
        assert [[row.title for row in found.rows] for found in pages] == [list("fedcb")] * 10
        assert any("unnest(" in sql for sql in sent) is together


async def test_long_pages_of_a_user_alone_do_not_wait_for_turns(
    committed: Database, committed_owner: OwnerId, sent: Statements
) -> None:
    """They are sent together, which matters with a distant database; beside others they wait."""
    slots = FairSlots("reads", of_one_user=lambda: 2)
    await create(committed, committed_owner, "a")

    async def page() -> Page[TaskRow]:
        async with committed.read(share=slots.of("one")) as session:
            return await Tasks(session, committed_owner).page(Window(5), TaskFilter(), NEWEST_FIRST)

    for _ in range(20):  # each connection prepares its statement first
        await page()
    for others in ((), ("other",)):
        for other in others:
            await slots.acquire(other)
        sent.clear()
        pages = await asyncio.gather(*(page() for _ in range(10)))
        assert [[row.title for row in found.rows] for found in pages] == [["a"]] * 10
        assert len(sent) == (10 if others else 3)


async def test_short_pages_share_statements_while_connections_are_free(
    committed: Database,
    committed_owner: OwnerId,
    sent: Statements,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def page() -> Page[TaskRow]:
        async with committed.read(share=FairSlots("reads").of("one")) as session:
            return await Tasks(session, committed_owner).page(Window(2), TaskFilter(), NEWEST_FIRST)

    monkeypatch.setattr(queues, "SHORT_PAGE_S", 10)
    monkeypatch.setattr(committed._gatherer, "_size", 20)
    for title in "abc":
        await create(committed, committed_owner, title)
    for _ in range(2):  # the first one is prepared
        await page()
    committed._gatherer.concurrency = queues.FEWEST  # whatever the machine
    monkeypatch.setattr(gatherer, "SEND_EVERY_S", 10)
    sent.clear()
    pages = await asyncio.gather(*(page() for _ in range(10)))
    assert [[row.title for row in found.rows] for found in pages] == [["c", "b"]] * 10
    assert len(sent) < 10
    assert any("unnest(" in sql for sql in sent)


async def test_slower_pages_have_more_statements_under_way(
    committed: Database, committed_owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database works on them at once, as long as Howdah has work of its own meanwhile."""
    monkeypatch.setattr(queues, "SHORT_PAGE_S", 10)
    pool = committed._gatherer
    pool._size = 20
    async with committed.read() as session:
        await Tasks(session, committed_owner).page(Window(5), TaskFilter(), NEWEST_FIRST)
    (queue,) = (queue for sql, queue in pool._queues.items() if "LIMIT" in sql)
    pool.concurrency = queues.FEWEST  # whatever the machine
    at_once = []
    for seconds in (0.0, 4 * gatherer.SEND_EVERY_S, 100 * gatherer.SEND_EVERY_S):
        pool._round_trip.value, queue.call_s.value = 0.0, seconds
        at_once.append(pool._most(queue))
    assert at_once == [queues.FEWEST, 4, 20 - gatherer.SPARE_CONNECTIONS]
