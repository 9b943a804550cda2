"""Statements of concurrent callers that are sent as one: each caller gets its own answer."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from db.errors import Conflict, Forbidden, HowdahError, NotFound, Overloaded, TimedOut
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import SortOrder, Window
from db.postgres.engine import Database, open_database
from db.postgres.gathering import gatherer, queues
from db.postgres.gathering.gathered_sql import gather_statement
from db.postgres.route.connect import Dropped
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change
from db.storage.repositories.buckets import Buckets
from db.tasks import TaskFilter, TaskRow, Tasks
from tests.fixtures.database import Statements
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.people import add_person

LOCK = compile_change(text("UPDATE tasks SET title = title WHERE id = :id"))
NEWEST_FIRST = SortOrder("created_at", descending=True)
BY_ID = SortOrder("id", descending=False)


@pytest.fixture(autouse=True)
def two_at_once(committed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the machine how many are sent at once and together."""
    monkeypatch.setattr(committed._gatherer, "_size", 2)
    monkeypatch.setattr(queues, "BATCH_TAKES_S", 1)


@pytest.fixture
async def owners(committed: Database) -> list[OwnerId]:
    return [await add_person(committed, f"User{number}") for number in range(6)]


def gathered(sent: Sequence[str]) -> list[str]:
    return [sql for sql in sent if "unnest(" in sql]


async def get(database: Database, owner: OwnerId, task: UUID) -> TaskRow | None:
    async with database.read() as session:
        return await Tasks(session, owner).get(task)


async def get_many(database: Database, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[TaskRow]:
    async with database.read() as session:
        return await Tasks(session, owner).get_many(ids)


def change(
    database: Database, owner: OwnerId, work: Callable[[Tasks[Session]], Awaitable[Any]]
) -> Awaitable[Any]:
    return database.write(lambda session: work(Tasks(session, owner)))


def toggle(database: Database, owner: OwnerId, task: UUID) -> Awaitable[Any]:
    return change(database, owner, lambda tasks: tasks.toggle(task))


async def create(database: Database, owner: OwnerId, title: str = "x") -> UUID:
    row: TaskRow = await change(database, owner, lambda tasks: tasks.create(title=title))
    return row.id


async def test_single_caller_sends_its_own_statement(
    committed: Database, committed_owner: OwnerId, sent: Statements
) -> None:
    task = await create(committed, committed_owner)
    await get(committed, committed_owner, task)
    await change(committed, committed_owner, lambda tasks: tasks.toggle(task))
    assert len(sent) == 3
    assert not gathered(sent)


async def test_concurrent_callers_share_statements(
    committed: Database, committed_owner: OwnerId, sent: Statements
) -> None:
    ids = [await create(committed, committed_owner, str(number)) for number in range(100)]
    sent.clear()
    rows = await asyncio.gather(*(get(committed, committed_owner, task) for task in ids))
    assert [row and row.title for row in rows] == [str(number) for number in range(100)]
    assert gathered(sent)
    assert len(sent) < 50


async def test_no_user_gets_row_of_another(committed: Database, sent: Statements) -> None:
    owners = [await add_person(committed, f"User{number}") for number in range(50)]
    tasks = {owner: await create(committed, owner, str(owner)) for owner in owners}
    pairs = [(owner, task) for owner in owners for task in tasks.values()]
    random.Random(1).shuffle(pairs)  # noqa: S311 - a schedule that can be had again
    rows = await asyncio.gather(*(get(committed, *pair) for pair in pairs))
    for (owner, task), row in zip(pairs, rows, strict=True):
        assert (row.title if row else None) == (str(owner) if tasks[owner] == task else None)
    everything = list(tasks.values())
    found = await asyncio.gather(*(get_many(committed, owner, everything) for owner in owners))
    assert [[row.title for row in rows] for rows in found] == [[str(owner)] for owner in owners]
    pairs = [(owner, task) for owner in owners for task in (*tasks.values(), new_id())][:300]
    ends = await asyncio.gather(
        *(toggle(committed, o, t) for o, t in pairs),
        return_exceptions=True,
    )
    for (owner, task), end in zip(pairs, ends, strict=True):
        if tasks[owner] == task:
            assert isinstance(end, TaskRow)
        else:
            assert isinstance(end, Forbidden if task in tasks.values() else NotFound)
    assert any(sql.startswith("UPDATE") for sql in gathered(sent))


@pytest.mark.parametrize("bad", range(8))
async def test_error_of_one_caller_reaches_it_alone(
    committed: Database, committed_owner: OwnerId, sent: Statements, bad: int
) -> None:
    def add(name: str) -> Awaitable[Any]:
        return committed.write(
            lambda session: Buckets(session, committed_owner).create(name, private=True)
        )

    await add("taken")
    names = [f"bucket-{number}" if number != bad else "taken" for number in range(8)]
    ends = await asyncio.gather(*map(add, names), return_exceptions=True)
    for name, end in zip(names, ends, strict=True):
        if name == "taken":
            assert isinstance(end, Conflict)
        else:
            assert not isinstance(end, BaseException)
            assert end.name == name
    assert any(sql.startswith("INSERT") for sql in gathered(sent))


async def test_changes_of_one_row_keep_their_order(
    committed: Database, committed_owner: OwnerId
) -> None:
    ids = [await create(committed, committed_owner) for _ in range(3)]
    order = [task for _ in range(10) for task in ids]
    rows = await asyncio.gather(*(toggle(committed, committed_owner, task) for task in order))
    for task in ids:
        of_task = [row for row in rows if row.id == task]
        assert [row.version for row in of_task] == list(range(2, 12))
        assert [row.completed for row in of_task] == [True, False] * 5


async def test_cancelled_caller_takes_nobody_along(
    committed: Database, committed_owner: OwnerId
) -> None:
    chance = random.Random(3)  # noqa: S311 - a schedule that can be had again
    ids = [await create(committed, committed_owner) for _ in range(60)]
    for _ in range(5):
        before = await asyncio.gather(*(get(committed, committed_owner, task) for task in ids))
        calls = [asyncio.ensure_future(toggle(committed, committed_owner, task)) for task in ids]
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        leaving = set(chance.sample(range(60), 20))
        for number in leaving:
            calls[number].cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        after = await asyncio.gather(*(get(committed, committed_owner, task) for task in ids))
        for number, (old, new, end) in enumerate(zip(before, after, ends, strict=True)):
            assert old is not None
            assert new is not None
            if isinstance(end, asyncio.CancelledError):
                assert number in leaving
                assert new.version - old.version in {0, 1}
            else:
                assert end == new


async def test_locked_row_delays_its_own_caller_only(
    committed: Database, committed_owner: OwnerId, observer: asyncpg.Connection
) -> None:
    ids = [await create(committed, committed_owner) for _ in range(20)]
    await observer.execute("BEGIN")
    await observer.execute("UPDATE tasks SET title = 'held' WHERE id = $1", ids[7])
    calls = [asyncio.ensure_future(toggle(committed, committed_owner, task)) for task in ids]
    free = [call for number, call in enumerate(calls) if number != 7]
    await asyncio.wait_for(asyncio.gather(*free), PATIENCE_S)
    assert not calls[7].done()
    await observer.execute("COMMIT")
    row = await calls[7]
    assert (row.title, row.completed) == ("held", True)


async def test_change_that_waits_for_its_row_delays_no_other(
    committed: Database, committed_owner: OwnerId, observer: asyncpg.Connection
) -> None:
    """Also if nothing else ends meanwhile, and could send what waits."""
    held, free = [await create(committed, committed_owner) for _ in range(2)]
    await observer.execute("BEGIN")
    await observer.execute("UPDATE tasks SET title = 'held' WHERE id = $1", held)
    calls = [asyncio.ensure_future(toggle(committed, committed_owner, held)) for _ in range(2)]
    async with patience():
        while not committed._gatherer.waiting:  # noqa: ASYNC110 - the second, for the first
            await asyncio.sleep(0)
    assert (await toggle(committed, committed_owner, free)).completed
    assert not any(call.done() for call in calls)
    await observer.execute("COMMIT")
    assert [row.version for row in await asyncio.gather(*calls)] == [2, 3]


async def test_call_that_waited_too_long_is_counted_once(
    committed: Database, committed_owner: OwnerId, observer: asyncpg.Connection
) -> None:
    """Although another one fails after it, and both are still in the queue."""
    task = await create(committed, committed_owner)
    before = Overloaded.causes["database_pool"]
    await observer.execute("BEGIN")
    await observer.execute("UPDATE tasks SET title = 'held' WHERE id = $1", task)
    first = asyncio.ensure_future(toggle(committed, committed_owner, task))
    waiting = []
    async with patience():
        for number in range(1, 3):
            committed._gatherer._wait_ms = number * 50
            waiting.append(asyncio.ensure_future(toggle(committed, committed_owner, task)))
            while committed._gatherer.waiting < number:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [Overloaded] * 2
    assert Overloaded.causes["database_pool"] == before + 2
    await observer.execute("COMMIT")
    await first


async def test_lost_connection_applies_no_change_twice(
    committed: Database,
    committed_owner: OwnerId,
    committed_url: str,
    observer: asyncpg.Connection,
) -> None:
    blocker = await asyncpg.connect(committed_url)
    await blocker.execute("BEGIN")
    await blocker.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
    calls = [asyncio.create_task(create(committed, committed_owner, str(n))) for n in range(20)]
    async with patience():
        while not all(call.done() for call in calls):  # the first two, then the batch of the others
            await observer.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            await asyncio.sleep(0.01)
    await blocker.close()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [Dropped] * 20
    assert not await observer.fetch("SELECT id FROM tasks")


async def test_change_that_timed_out_is_not_sent_again(
    committed_url: str, committed_owner: OwnerId, observer: asyncpg.Connection
) -> None:
    """A timeout does not tell whether PostgreSQL had finished."""
    database = await open_database(committed_url, pool_size=2, statement_timeout_ms=1_000)
    task = await create(database, committed_owner)  # connects, and prepares the statement
    sent = Statements()
    database.observe = sent.append
    await observer.execute("BEGIN")
    await observer.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
    calls = [create(database, committed_owner, str(number)) for number in range(20)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    await observer.execute("COMMIT")
    assert [type(end) for end in ends] == [TimedOut] * 20
    assert len(gathered(sent)) >= 1
    assert len(sent) < 20
    assert [row["id"] for row in await observer.fetch("SELECT id FROM tasks")] == [task]
    await database.close()


class _Operation:
    """One random operation; `run` may be called on several databases."""

    def __init__(self, chance: random.Random, owners: Sequence[OwnerId], known: list[UUID]) -> None:
        self.owner = chance.choice(owners)
        self.kind = chance.choice(["create", "get", "many", "page", "stats", "count", "owner"])
        self.task = chance.choice(known) if known else new_id()
        self.tasks = chance.sample(known, chance.randrange(min(len(known), 9) + 1))
        self.version = chance.choice([None, None, 1, 2])
        self.title = chance.choice(["a", "b", " ", "c" * 200, "ö"])
        self.size = chance.choice([1, 2, 5])

    def changes(self, kinds: dict[UUID, str], chance: random.Random) -> None:
        """Makes it a change; concurrent changes of one row are of one kind."""
        kind = kinds.setdefault(self.task, chance.choice(["toggle", "update", "delete"]))
        self.kind = kind

    async def run(self, database: Database) -> Any:
        try:
            if self.kind in {"get", "many", "page", "stats", "count", "owner"}:
                async with database.read() as session:
                    return await self._read(session)
            return await database.write(self._write)
        except HowdahError as error:
            # Whether a row is missing or another user's depends on when it is deleted.
            return "refused" if self.kind == "delete" else (type(error), str(error))

    async def _read(self, session: ReadSession) -> Any:
        tasks = Tasks(session, self.owner)
        match self.kind:
            case "get":
                return comparable(await tasks.get(self.task))
            case "many":
                return sorted(map(comparable, await tasks.get_many(self.tasks)))
            case "page":
                page = await tasks.page(Window(self.size), TaskFilter(), BY_ID)
                return [*map(comparable, page.rows)], page.has_next
            case "stats":
                return await tasks.stats()
            case "count":
                return await tasks.count(TaskFilter(completed=True))
        return await session.value(Tasks._owner_of(), id=self.task)

    async def _write(self, session: Session) -> Any:
        tasks = Tasks(session, self.owner)
        match self.kind:
            case "create":
                return comparable(await tasks.add(id=self.task, title=self.title, description=None))
            case "toggle":
                return comparable(await tasks.toggle(self.task, expected_version=self.version))
            case "update":
                changes = {"title": self.title} if self.size > 1 else {"completed": True}
                row = await tasks.change(self.task, expected_version=self.version, **changes)
                return comparable(row)
        return await tasks.remove(self.task, expected_version=self.version)


def comparable(row: TaskRow | None) -> Any:
    """Without times."""
    return row and (row.id, row.title, row.description, row.completed, row.version)


def rounds(seed: int, owners: Sequence[OwnerId]) -> Iterator[list[_Operation]]:
    """Alternating: creations, changes, reads of all owners' tasks."""
    chance = random.Random(seed)  # noqa: S311 - a schedule that can be had again
    known: list[UUID] = []
    for number in range(12):
        operations = [_Operation(chance, owners, known) for _ in range(60)]
        kinds: dict[UUID, str] = {}
        for operation in operations:
            if number % 3 == 0:
                operation.kind, operation.task = "create", new_id()
                known.append(operation.task)
            elif number % 3 == 1:
                operation.changes(kinds, chance)
            elif operation.kind == "create":
                operation.kind = "get"
        yield operations


@pytest.mark.parametrize("seed", range(4))
async def test_gathered_answers_equal_those_one_by_one(
    committed: Database,
    database: Database,
    owners: list[OwnerId],
    sent: Statements,
    seed: int,
    observer: asyncpg.Connection,
) -> None:
    """About 3,000 operations of six users, on one database together, on another one by one."""
    for owner in owners:
        await database.write(partial(add_copy, owner=owner))
    for operations in rounds(seed, owners):
        together = await asyncio.gather(*(operation.run(committed) for operation in operations))
        alone = [await operation.run(database) for operation in operations]
        for operation, one, other in zip(operations, together, alone, strict=True):
            assert one == other, vars(operation)
    kinds = {sql.split()[0] for sql in gathered(sent)}
    assert kinds == {"SELECT", "INSERT", "UPDATE", "DELETE"}


async def add_copy(session: Session, *, owner: OwnerId) -> None:
    await session.rows(_PERSON, id=owner, email=owner.hex)


_PERSON = compile_change(text("INSERT INTO users (id, email, name) VALUES (:id, :email, 'x')"))


async def test_statements_without_callers_are_forgotten(
    committed: Database, committed_owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatherer, "KEPT_QUEUES", 3)
    for name in TaskRow._fields:
        async with committed.read() as session:
            window = Window(5, columns=(name,))
            await Tasks(session, committed_owner).page(window, TaskFilter(), NEWEST_FIRST)
    assert len(committed._gatherer._queues) <= 3


def test_statements_that_are_never_gathered() -> None:
    assert gather_statement(Tasks._remove_completed()) is None  # several rows
    assert gather_statement(Tasks._now()) is None  # nothing differs
    assert gather_statement(Buckets._lock()) is None  # a lock
