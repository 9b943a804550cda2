"""Concurrent transactions, and statements that a session refuses."""

import asyncio
import contextlib
from functools import partial

import asyncpg
import pytest

from db.errors import Overloaded
from db.postgres.engine import ATTEMPTS, Database
from db.postgres.sessions import Session
from tests.fixtures.database import Statements
from tests.fixtures.notes import (
    ADD,
    BUMP,
    COUNT,
    CREATE,
    HASTY,
    SERIALIZABLE,
    SUM,
    TWICE,
    read,
)


async def test_transaction_is_retried_after_serialization_failure(notes: Database) -> None:
    await notes.transaction(lambda session: session.rows(ADD, id=1))
    await notes.transaction(lambda session: session.rows(ADD, id=2))
    both_have_read = asyncio.Barrier(2)
    runs = 0

    async def work(session: Session, *, row_id: int) -> None:
        nonlocal runs
        runs += 1
        await session.rows(SERIALIZABLE)
        await session.value(SUM)
        if runs <= 2:
            await both_have_read.wait()
        await session.rows(BUMP, id=row_id)

    await asyncio.gather(*(notes.transaction(partial(work, row_id=n)) for n in (1, 2)))
    assert runs == 3
    async with notes.read() as session:
        assert await session.value(SUM) == 2


async def test_transaction_is_retried_after_deadlock(notes: Database) -> None:
    await notes.transaction(lambda session: session.rows(ADD, id=1))
    await notes.transaction(lambda session: session.rows(ADD, id=2))
    both_have_one = asyncio.Barrier(2)
    runs = 0

    async def work(session: Session, first: int, second: int) -> None:
        nonlocal runs
        runs += 1
        await session.rows(HASTY)
        await session.rows(BUMP, id=first)
        if runs <= 2:
            await both_have_one.wait()
        await session.rows(BUMP, id=second)

    await asyncio.gather(
        notes.transaction(lambda session: work(session, 1, 2)),
        notes.transaction(lambda session: work(session, 2, 1)),
    )
    assert runs == 3
    async with notes.read() as session:
        assert await session.value(SUM) == 4


@pytest.mark.parametrize("way", ["transaction", "write"])
async def test_transaction_retries_are_limited(notes: Database, way: str) -> None:
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        raise asyncpg.SerializationError("again")

    with pytest.raises(Overloaded) as refused:
        await getattr(notes, way)(work)
    assert refused.value.retry_after_s == 1
    assert runs == ATTEMPTS


async def test_read_session_refuses_change(notes: Database) -> None:
    async with notes.read() as session:
        with pytest.raises(RuntimeError, match="runs no changes"):
            await session.rows(ADD, id=1)  # type: ignore[arg-type]  # refused at runtime too
        assert await session.value(COUNT) == 0


async def test_write_refuses_second_change(notes: Database) -> None:
    await write_twice(notes)


async def test_write_refuses_second_change_in_test_database(database: Database) -> None:
    await database.transaction(lambda session: session.rows(CREATE))
    await write_twice(database)


async def write_twice(database: Database) -> None:
    async def work(session: Session) -> int:
        assert await session.value(COUNT) == 0
        await session.rows(ADD, id=1)
        count: int = await session.value(COUNT)
        with pytest.raises(RuntimeError, match="needs a transaction"):
            await session.rows(ADD, id=2)
        return count

    assert await database.write(work) == 1


async def test_failed_transaction_is_not_committed(notes: Database) -> None:
    async def work(session: Session) -> str:
        await session.rows(ADD, id=1)
        with contextlib.suppress(asyncpg.UniqueViolationError):
            await session.rows(ADD, id=1)
        return "all is well"

    with pytest.raises(RuntimeError, match="was rolled back"):
        await notes.transaction(work)
    async with notes.read() as session:
        assert await session.value(COUNT) == 0


async def test_statement_error_is_not_translated(narrow: Database) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await narrow.write(lambda session: session.rows(TWICE))
    with pytest.raises(asyncpg.DataError):
        await read(narrow, "no number")  # type: ignore[arg-type]  # the case itself
    assert await read(narrow, 1) == 1


async def test_observer_sees_every_statement_once(notes: Database) -> None:
    sent = Statements()
    notes.observe = sent.append
    with sent.expected(3):
        await notes.transaction(lambda session: session.rows(ADD, id=1))
        await notes.write(lambda session: session.rows(ADD, id=2))
        await read(notes, 1)
