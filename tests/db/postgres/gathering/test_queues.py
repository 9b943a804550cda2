"""How many callers share a statement."""

import asyncio
import math
from typing import Any

import pytest
from sqlalchemy import ARRAY, Integer, Uuid, bindparam, func, select

from db.kit.base import OwnerId, new_id
from db.kit.lists.long_texts import PAGE_BYTES, end_after
from db.postgres.engine import Database, open_database
from db.postgres.gathering.calls import Call
from db.postgres.gathering.gathered_sql import BATCH_BYTES, gather_statement
from db.postgres.gathering.queues import (
    FIRST_BATCH,
    LARGEST_BATCH,
    SHORT_PAGE_S,
    StatementQueue,
)
from db.postgres.statements import Statement, compile_change, compile_statement
from db.tasks import Tasks

TABLE = Tasks.table()
TASK = TABLE.c
MINE = (TASK.owner_id == bindparam("owner_id"), TASK.id == bindparam("id"))
READ = compile_statement(select(TASK.title).where(*MINE))
CHANGE = compile_change(TABLE.update().where(*MINE).values(completed=True).returning(TASK.id))
PAGE = compile_statement(
    select(TASK.title).where(MINE[0]).order_by(TASK.id).limit(bindparam("limit", type_=Integer()))
)


def queue_of(statement: Statement[Any], *, under_way: int, waiting: int) -> StatementQueue:
    queue = StatementQueue(statement, gather_statement(statement))
    queue.calls = under_way
    queue.waiting.extend(Call() for _ in range(waiting))
    return queue


@pytest.mark.parametrize(
    ("statement", "most"),
    [(CHANGE, 5), (PAGE, 5), (READ, LARGEST_BATCH)],
    ids=["change", "page", "read"],
)
async def test_changes_and_pages_are_halved(statement: Statement[Any], most: int) -> None:
    queue = queue_of(statement, under_way=1, waiting=8)
    queue.learn(SHORT_PAGE_S / 2, 1, asyncio.get_running_loop().time())
    assert queue.gathers
    assert queue.most_callers == most


@pytest.mark.parametrize(
    ("took", "gathers"),
    [([], True), ([SHORT_PAGE_S * 2], False), ([SHORT_PAGE_S * 2, SHORT_PAGE_S / 2], True)],
    ids=["unknown", "long", "short"],
)
async def test_page_is_short_until_it_was_long(took: list[float], *, gathers: bool) -> None:
    queue = queue_of(PAGE, under_way=1, waiting=8)
    for seconds in took:
        queue.learn(seconds, 1, asyncio.get_running_loop().time())
    assert queue.gathers is gathers
    assert (queue.most_callers < LARGEST_BATCH) is gathers


async def test_rows_of_a_page_count_as_callers() -> None:
    queue = queue_of(PAGE, under_way=0, waiting=0)
    assert queue.form
    at = PAGE.names.index("limit")
    assert [queue.form.weight([limit] * (at + 1)) for limit in (10, 50, 1_001)] == [1, 2, 21]
    assert queue.batch_size == FIRST_BATCH


async def test_pages_of_several_parents_count_as_so_many() -> None:
    of_some = TASK.id == func.any(bindparam("ids", type_=ARRAY(Uuid)))
    pages = select(TASK.title).where(MINE[0], of_some).limit(bindparam("limit", type_=Integer()))
    statement = compile_statement(pages)
    form = gather_statement(statement)
    assert form
    values = {"owner_id": None, "ids": [None] * 9, "limit": 1_001}
    assert form.weight([values[name] for name in statement.names]) == 21 * 10


@pytest.mark.parametrize("seconds", [[], [0.0]], ids=["unknown", "short"])
async def test_few_pages_of_long_texts_share_a_statement(seconds: list[float]) -> None:
    """The shortest page says nothing about the texts of others."""
    page = select(TASK.id, TASK.title).where(MINE[0]).limit(bindparam("limit", type_=Integer()))
    statement = compile_statement(end_after(page, ["title"], [("id", False)], PAGE_BYTES))
    queue = queue_of(statement, under_way=1, waiting=100)
    for one in seconds:
        queue.learn(one, 1, asyncio.get_running_loop().time())
    assert queue.most_callers * PAGE_BYTES == BATCH_BYTES


async def read(database: Database, owner: OwnerId) -> None:
    async with database.read() as session:
        await Tasks(session, owner).get(new_id())


async def test_time_to_prepare_a_statement_is_not_that_of_a_call(
    committed_url: str, committed_owner: OwnerId
) -> None:
    """Else those of a distant database seem slow, and the first of many are sent one by one."""
    database = await open_database(committed_url, pool_size=1)
    await read(database, committed_owner)
    (queue,) = database._gatherer._queues.values()
    assert queue.call_s._current == math.inf
    await read(database, committed_owner)
    assert queue.call_s._current < math.inf
    await database.close()
