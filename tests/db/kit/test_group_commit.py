"""Changes of concurrent callers in one transaction, each with its own answer."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text

from db.errors import Conflict
from db.kit.group_commit import GroupCommit
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change, compile_statement
from tests.fixtures.patience import patience

_TABLE = compile_change(text("CREATE TABLE noted (number int CHECK (number <> 13))"))
_LOCK = compile_statement(text("SELECT pg_advisory_xact_lock(:number ::int)"))
_ADD = compile_change(
    text("INSERT INTO noted VALUES (:number) RETURNING pg_current_xact_id()::text")
)
_ALL = compile_statement(text("SELECT number FROM noted ORDER BY number"))
REFUSED, BROKEN, COUNT = 7, 13, 20


async def write(session: Session, number: int) -> str:
    """Returns the ID of the transaction."""
    if number == REFUSED:
        raise Conflict("Not this one.", hint="Another.")
    await session.rows(_LOCK, number=number)
    return str(await session.value(_ADD, number=number))


@pytest.fixture
async def noted(committed: Database) -> GroupCommit[int, str]:
    await committed.transaction(lambda session: session.rows(_TABLE))
    return GroupCommit(committed, write, order=lambda number: number)


async def stored(database: Database) -> list[int]:
    async with database.read() as session:
        return [row[0] for row in await session.rows(_ALL)]


async def test_group_commit_shares_a_transaction(
    noted: GroupCommit[int, str], committed: Database
) -> None:
    numbers = [number for number in range(COUNT) if number not in {REFUSED, BROKEN}]
    ids = await asyncio.gather(*map(noted.add, numbers))
    assert len(set(ids)) == 2  # the first is written at once, the others together
    assert await stored(committed) == numbers


async def test_group_commit_refuses_one_item_alone(
    noted: GroupCommit[int, str], committed: Database
) -> None:
    numbers = [number for number in range(COUNT) if number != BROKEN]
    answers = await asyncio.gather(*map(noted.add, numbers), return_exceptions=True)
    assert [type(answer) for answer in answers].count(Conflict) == 1
    assert len({answer for answer in answers if isinstance(answer, str)}) == 2
    assert await stored(committed) == [number for number in numbers if number != REFUSED]


async def test_group_commit_writes_each_alone_after_an_error(
    noted: GroupCommit[int, str], committed: Database
) -> None:
    numbers = [number for number in range(COUNT) if number != REFUSED]
    answers = await asyncio.gather(*map(noted.add, numbers), return_exceptions=True)
    failed = [answer for answer in answers if not isinstance(answer, str)]
    assert [type(answer) for answer in failed] == [asyncpg.CheckViolationError]
    assert len(set(map(str, answers))) == len(numbers)
    assert await stored(committed) == [number for number in numbers if number != BROKEN]


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4), (8, 0, 9, 10, 11)], ids=["alone", "grouped"])
async def test_group_commit_waits_for_no_lock_of_a_neighbour(
    noted: GroupCommit[int, str], committed: Database, numbers: tuple[int, ...]
) -> None:
    """Another process holds the lock of item 0."""
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(session: Session) -> None:
        await session.rows(_LOCK, number=0)
        held.set()
        await release.wait()

    holding = asyncio.create_task(committed.transaction(hold))
    await held.wait()
    tasks = {number: asyncio.create_task(noted.add(number)) for number in numbers}
    waiting = tasks.pop(0)
    async with patience():
        await asyncio.gather(*tasks.values())
    assert not waiting.done()
    release.set()
    await asyncio.gather(waiting, holding)
    assert await stored(committed) == sorted(numbers)


async def test_group_commit_drops_a_cancelled_caller(
    noted: GroupCommit[int, str], committed: Database
) -> None:
    tasks = [asyncio.create_task(noted.add(number)) for number in range(1, 5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert await stored(committed) == [1, 2, 4]
