import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from db.errors import Conflict
from db.kit.base import OwnerId
from db.kit.lists.paging import SortOrder, Window
from db.postgres.engine import Database
from db.postgres.statements import compile_change
from db.tasks import (
    ImportReport,
    Imports,
    TaskFilter,
    TaskRow,
    Tasks,
    import_records,
    parse_legacy_tasks,
)
from tests.fixtures.database import Statements

OLD = [
    {
        "id": 1,
        "title": "Feed the elephant",
        "description": "hay",
        "completed": True,
        "created_at": "2020-01-01T08:00:00",
        "updated_at": "2020-01-02T08:00:00Z",
    },
    {"id": "2", "title": "Wash the elephant", "done": 0},
    {"id": 3, "title": ""},
    {"id": 2, "title": "Wash the elephant", "done": 0},
]


class Chest:
    """One owner's imports and lists."""

    def __init__(self, database: Database, owner: OwnerId) -> None:
        self.database = database
        self.owner = owner

    async def run(self, work: Callable[[Imports], Awaitable[Any]]) -> Any:
        return await self.database.transaction(lambda session: work(Imports(session, self.owner)))

    async def load(self, records: Any, *, dry_run: bool = False) -> ImportReport:
        chunks = [records if isinstance(records, str) else json.dumps(records)]
        async for report in import_records(self.run, parse_legacy_tasks(chunks), dry_run=dry_run):
            last = report
        return last

    async def do(self, work: Callable[[Tasks], Awaitable[Any]]) -> Any:
        return await self.database.transaction(lambda session: work(Tasks(session, self.owner)))

    async def rows(self) -> Sequence[TaskRow]:
        page = await self.do(
            lambda t: t.page(Window(100), TaskFilter(), SortOrder("created_at", descending=False))
        )
        rows: Sequence[TaskRow] = page.rows
        return rows

    async def titles(self) -> list[str]:
        return [row.title for row in await self.rows()]


@pytest.fixture
def mine(database: Database, owner: OwnerId) -> Chest:
    return Chest(database, owner)


@pytest.fixture
def theirs(database: Database, other_owner: OwnerId) -> Chest:
    return Chest(database, other_owner)


async def execute(database: Database, sql: str) -> None:
    statement = compile_change(text(sql))
    await database.transaction(lambda session: session.rows(statement))


def counts(report: ImportReport) -> tuple[int, int, list[int]]:
    return report.created, report.unchanged, [rejected.index for rejected in report.rejected]


async def test_import_keeps_fields(mine: Chest) -> None:
    report = await mine.load(OLD)
    assert counts(report) == (3, 0, [2])
    page = await mine.do(lambda t: t.page(Window(9), TaskFilter(completed=True), SortOrder("id")))
    (task,) = page.rows
    assert (task.title, task.description) == ("Feed the elephant", "hay")
    assert task.created_at == "2020-01-01T08:00:00+00:00"
    assert task.updated_at == task.completed_at == "2020-01-02T08:00:00+00:00"
    assert await mine.titles() == ["Feed the elephant", "Wash the elephant", "Wash the elephant"]


async def test_import_accepts_extreme_times(mine: Chest) -> None:
    await mine.load([{"title": "Of old", "created_at": "0001-01-01T00:00:00"}])
    (task,) = await mine.rows()
    assert task.created_at == "0001-01-01T00:00:00+00:00"


async def test_import_is_idempotent(mine: Chest) -> None:
    await mine.load(OLD)
    task_id = (await mine.rows())[1].id
    edited = await mine.do(lambda t: t.change(task_id, title="Wash it", completed=True))
    again = await mine.load(OLD)
    assert counts(again) == (0, 3, [2])
    assert await mine.do(lambda t: t.get(task_id)) == edited
    assert len(await mine.titles()) == 3


async def test_import_of_longer_file_adds_new_tasks(mine: Chest) -> None:
    await mine.load(OLD)
    assert counts(await mine.load([*OLD, {"id": 4, "title": "Ride"}])) == (1, 3, [2])


async def test_import_of_other_file_with_same_ids_adds_tasks(mine: Chest) -> None:
    await mine.load(OLD)
    assert counts(await mine.load([{"id": 1, "title": "Of the old laptop"}])) == (1, 0, [])


async def test_dry_run_reports_the_same_and_changes_nothing(mine: Chest) -> None:
    assert counts(await mine.load(OLD, dry_run=True)) == (3, 0, [2])
    assert await mine.titles() == []
    await mine.load(OLD[:1])
    assert counts(await mine.load(OLD, dry_run=True)) == (2, 1, [2])
    assert await mine.titles() == ["Feed the elephant"]


async def test_import_is_separate_for_each_owner(mine: Chest, theirs: Chest) -> None:
    assert counts(await mine.load(OLD)) == counts(await theirs.load(OLD)) == (3, 0, [2])
    assert await mine.do(Tasks.stats) == await theirs.do(Tasks.stats) == (3, 1, 2)


async def test_import_of_broken_file_can_be_completed_later(
    mine: Chest,
) -> None:
    whole = json.dumps(OLD)
    report = await mine.load(whole[:-20])
    assert counts(report) == (2, 0, [2, 3])
    assert "breaks at line 1" in report.rejected[1].reason
    assert counts(await mine.load(whole)) == (1, 2, [2])


async def test_import_of_empty_list_creates_nothing(mine: Chest) -> None:
    assert counts(await mine.load([])) == (0, 0, [])


async def test_import_is_idempotent_under_concurrency(
    committed: Database, committed_owner: OwnerId
) -> None:
    chest = Chest(committed, committed_owner)
    records = [{"id": number, "title": f"{number}"} for number in range(2_500)]
    reports = await asyncio.gather(*(chest.load(records) for _ in range(4)))
    assert sum(report.created for report in reports) == 2_500
    assert {report.read for report in reports} == {2_500}
    assert (await chest.do(Tasks.stats)).total == 2_500


async def test_import_detects_rows_that_differ_from_file(mine: Chest) -> None:
    """A trigger simulates any difference between file and table."""
    meddle = """
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$
    """
    tie = "CREATE TRIGGER meddle BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION meddle()"
    for sql in (meddle, tie):
        await execute(mine.database, sql)
    with pytest.raises(Conflict, match="differ from the file"):
        await mine.load(OLD)


async def test_checksum_is_equal_for_equal_imports_only(mine: Chest, theirs: Chest) -> None:
    first = await mine.load(OLD)
    assert first.checksum == (await theirs.load(OLD)).checksum != ""
    other = [*OLD[:1], OLD[1] | {"done": 1}, *OLD[2:]]
    assert (await Chest(mine.database, theirs.owner).load(other)).checksum != first.checksum


async def test_import_runs_two_statements_per_batch(mine: Chest, statements: Statements) -> None:
    records = [{"id": number, "title": f"{number}"} for number in range(2_000)]
    with statements.expected(4):
        await mine.load(records)


async def test_import_memory_is_bounded(committed: Database, committed_owner: OwnerId) -> None:
    many = 100_000

    def chunks() -> Iterator[str]:
        yield '{"tasks": ['
        for number in range(many):
            comma = "" if number == 0 else ","
            task = {"id": number, "title": f"Task {number}", "description": "d" * 200}
            yield comma + json.dumps(task | {"created_at": 1_500_000_000 + number})
        yield "]}"

    chest = Chest(committed, committed_owner)
    process = psutil.Process()
    before = most = process.memory_info().rss
    async for report in import_records(chest.run, parse_legacy_tasks(chunks())):
        most = max(most, process.memory_info().rss)
        last = report
    assert counts(last) == (many, 0, [])
    assert (await chest.do(Tasks.stats)).total == many
    assert most - before < 50_000_000
