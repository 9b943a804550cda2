import asyncio
from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import text

from db.errors import BadInput, Conflict, TooLarge
from db.kit import idempotency
from db.kit.base import OwnerId
from db.kit.idempotency import Idempotency, run_once
from db.kit.sweeps import sweep_all
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change
from db.tasks import TaskFilter, TaskRow, Tasks

AGE = compile_change(
    text("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
)


class OfOldRelease(NamedTuple):
    id: int


class OfNewRelease(NamedTuple):
    id: int
    added: str | None = None


async def create(database: Database, owner: OwnerId, key: str, title: str = "one") -> TaskRow:
    return await run_once(
        database,
        owner,
        lambda session: Tasks(session, owner).create(title=title),
        key=key,
        request=("createTask", title),
        answer=TaskRow,
    )


async def count(database: Database, owner: OwnerId) -> Any:
    async with database.read() as session:
        return await Tasks(session, owner).count(TaskFilter())


async def test_idempotency_retry_returns_first_answer(database: Database, owner: OwnerId) -> None:
    first = await create(database, owner, "k")
    await database.write(lambda session: Tasks(session, owner).toggle(first.id))
    assert await create(database, owner, "k") == first
    assert await count(database, owner) == 1


@pytest.mark.parametrize("release", [OfNewRelease, OfOldRelease])
async def test_idempotency_returns_answer_of_another_release(
    database: Database, owner: OwnerId, release: type[OfNewRelease | OfOldRelease]
) -> None:
    async def answered_by(kind: type[Any], row: Any) -> Any:
        async def work(_: Session) -> Any:
            return row

        return await run_once(database, owner, work, key="k", request="call", answer=kind)

    other = OfOldRelease if release is OfNewRelease else OfNewRelease
    await answered_by(release, release(1))
    assert await answered_by(other, None) == other(1)


async def test_idempotency_other_input_is_conflict(database: Database, owner: OwnerId) -> None:
    await create(database, owner, "k")
    with pytest.raises(Conflict):
        await create(database, owner, "k", title="two")
    assert await count(database, owner) == 1


async def test_idempotency_keys_are_separate_for_each_owner(
    database: Database, owner: OwnerId, other_owner: OwnerId
) -> None:
    first = await create(database, owner, "k")
    second = await create(database, other_owner, "k", title="theirs")
    assert first.id != second.id
    assert await count(database, owner) == await count(database, other_owner) == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "\0"])
async def test_idempotency_key_is_validated(database: Database, owner: OwnerId, key: str) -> None:
    with pytest.raises(BadInput):
        await create(database, owner, key)
    assert await count(database, owner) == 0


async def test_idempotency_failure_releases_key(database: Database, owner: OwnerId) -> None:
    with pytest.raises(BadInput):
        await create(database, owner, "k", title="")
    assert (await create(database, owner, "k", title="one")).title == "one"


async def test_find_answer_returns_first_answer_without_claiming_key(
    database: Database, owner: OwnerId
) -> None:
    async def look(key: str, title: str = "one") -> TaskRow | None:
        async with database.read() as session:
            keys = Idempotency(session, owner)
            return await keys.find_answer(key, ("createTask", title), answer=TaskRow)

    assert await look("k") is None
    first = await create(database, owner, "k")
    assert await look("k") == first
    with pytest.raises(Conflict):
        await look("k", title="two")
    with pytest.raises(BadInput):
        await look(" ")
    await database.write(lambda session: session.rows(AGE))
    assert await look("k", title="two") is None


async def test_idempotency_under_concurrency_runs_once(
    committed: Database, committed_owner: OwnerId
) -> None:
    made = await asyncio.gather(*(create(committed, committed_owner, "k") for _ in range(20)))
    assert len({task.id for task in made}) == 1
    assert await count(committed, committed_owner) == 1


async def test_idempotency_key_expires_after_a_day(database: Database, owner: OwnerId) -> None:
    first = await create(database, owner, "k")
    await database.write(lambda session: session.rows(AGE))
    again = await create(database, owner, "k", title="new")
    assert again.id != first.id
    assert await create(database, owner, "k", title="new") == again  # for another day
    await create(database, owner, "other")
    await database.write(lambda session: session.rows(AGE))
    await create(database, owner, "young")
    assert await sweep_all({"keys": lambda: database.write(idempotency.sweep)}) == {"keys": 2}
    assert await count(database, owner) == 4


async def test_keys_of_one_owner_are_limited_and_a_repeated_request_is_still_answered(
    database: Database, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await create(database, owner, "first")
    async with database.read() as session:
        kept = await Idempotency(session, owner).kept_bytes()
    assert kept > len("first") + len(msgspec.json.encode(first))
    monkeypatch.setattr(idempotency._quota, "limit", 2 * kept - 1)
    monkeypatch.setattr(idempotency._quota, "_grants", OrderedDict())
    with pytest.raises(TooLarge, match="answers that are kept"):
        await create(database, owner, "other")
    assert await create(database, owner, "first") == first
    async with database.read() as session:
        assert await Tasks(session, owner).count(TaskFilter()) == 1
        assert await Idempotency(session, owner).kept_bytes() == kept
    await database.write(lambda session: session.rows(AGE))
    await sweep_all({"keys": lambda: database.write(idempotency.sweep)})
    await create(database, owner, "other")
