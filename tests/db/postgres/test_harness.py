"""The database fixtures: changes of a test are rolled back and isolated."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change, compile_statement
from db.tasks import TaskFilter, Tasks
from tests.fixtures.connected import connected
from tests.fixtures.database import Statements
from tests.fixtures.people import add_person

PEOPLE = compile_statement(text("SELECT count(*) FROM users"))
BROKEN = compile_statement(text("SELECT 1 / 0"))
ADD = compile_change(text("INSERT INTO users (id, email, name) VALUES (:id, :email, 'Eve')"))


async def people(database: Database) -> Any:
    async with database.read() as session:
        return await session.value(PEOPLE)


@pytest.mark.parametrize("_run", [1, 2])
async def test_database_fixture_discards_commits(database: Database, _run: int) -> None:
    assert await people(database) == 0
    await add_person(database, "Ada")
    assert await people(database) == 1


async def test_failed_transaction_rolls_back_only_itself(database: Database) -> None:
    await add_person(database, "Ada")

    async def work(session: Session) -> None:
        await session.rows(ADD, id=new_id(), email="eve@example.com")
        raise RuntimeError("never mind")

    with pytest.raises(RuntimeError):
        await database.transaction(work)
    assert await people(database) == 1


async def test_integrity_error_leaves_outer_transaction_usable(
    database: Database, owner: OwnerId
) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.transaction(lambda s: s.rows(ADD, id=owner, email="eve@example.com"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.write(lambda s: s.rows(ADD, id=owner, email="eve@example.com"))
    assert await people(database) == 1


async def test_failed_read_leaves_outer_transaction_usable(database: Database) -> None:
    async with database.read() as session:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await session.value(BROKEN)
        assert await session.value(PEOPLE) == 0


async def test_cancellation_leaves_outer_transaction_usable(database: Database) -> None:
    cancelled = 0
    for steps in range(60):
        reading = asyncio.create_task(people(database))
        for _ in range(steps):
            await asyncio.sleep(0.0001)
        reading.cancel()
        await asyncio.wait([reading])
        cancelled += reading.cancelled()
        assert await people(database) == 0
    assert cancelled


async def test_concurrent_sessions_take_turns(database: Database, owner: OwnerId) -> None:
    async def create(number: int) -> None:
        await database.transaction(lambda s: Tasks(s, owner).create(title=f"{number}"))

    await asyncio.gather(*(create(number) for number in range(20)))
    async with database.read() as session:
        assert await Tasks(session, owner).count(TaskFilter()) == 20


async def test_statement_counter_counts(database: Database, statements: Statements) -> None:
    with statements.expected(2):
        await people(database)
        await people(database)
    with pytest.raises(AssertionError, match="1 statements, not 0"), statements.expected(0):
        await people(database)


async def test_cloned_database_commits(committed: Database, committed_url: str) -> None:
    await add_person(committed, "Ada")
    async with connected(committed_url) as other:
        assert await other.fetchval("SELECT count(*) FROM users") == 1
