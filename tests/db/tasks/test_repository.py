import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.errors import BadInput, Conflict, Forbidden, NotFound
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import SortOrder, Window
from db.postgres.engine import Database
from db.tasks import TaskFilter, TaskRow, Tasks
from tests.fixtures.database import Statements

NEWEST = SortOrder("created_at")
EVERY = TaskFilter()


class TaskOwner:
    """An owner, each of whose calls runs in its own session, as in the application."""

    def __init__(self, database: Database, owner: OwnerId) -> None:
        self.database = database
        self.owner = owner

    async def do(self, work: Callable[[Tasks], Any]) -> Any:
        return await self.database.transaction(lambda session: work(Tasks(session, self.owner)))

    async def create(self, title: str, description: str | None = None) -> TaskRow:
        row: TaskRow = await self.do(lambda t: t.create(title=title, description=description))
        return row

    async def titles(
        self, window: Window, filters: TaskFilter = EVERY, order: SortOrder = NEWEST
    ) -> list[str]:
        page = await self.do(lambda t: t.page(window, filters, order))
        return [row.title for row in page.rows]


@pytest.fixture
def mine(database: Database, owner: OwnerId) -> TaskOwner:
    return TaskOwner(database, owner)


@pytest.fixture
def theirs(database: Database, other_owner: OwnerId) -> TaskOwner:
    return TaskOwner(database, other_owner)


async def test_create_trims_title_and_starts_open(mine: TaskOwner) -> None:
    task = await mine.create("  Feed the elephant \n", "  ")
    assert task.title == "Feed the elephant"
    assert task.description is None
    assert (task.completed, task.completed_at, task.version) == (False, None, 1)
    assert await mine.do(lambda t: t.get(task.id)) == task


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": " \t "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "nul \0"}, "title"),
        ({"title": "half \ud800"}, "title"),
        ({"title": "x", "description": "x" * 1001}, "description"),
    ],
)
async def test_create_refuses_invalid_task(
    mine: TaskOwner, values: dict[str, str], field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        await mine.do(lambda t: t.create(**values))
    assert caught.value.field == field
    assert await mine.do(lambda t: t.count(EVERY)) == 0


async def test_create_accepts_maximum_lengths(mine: TaskOwner) -> None:
    task = await mine.create("é" * 200, "x" * 1000)
    assert (len(task.title), len(task.description or "")) == (200, 1000)


async def test_change_sets_only_named_fields(mine: TaskOwner) -> None:
    task = await mine.create("one", "about it")
    changed = await mine.do(lambda t: t.change(task.id, title="two"))
    assert (changed.title, changed.description, changed.version) == ("two", "about it", 2)
    cleared = await mine.do(lambda t: t.change(task.id, description=None))
    assert (cleared.description, cleared.version) == (None, 3)
    assert await mine.do(lambda t: t.change(task.id)) == cleared


@pytest.mark.parametrize("changes", [{"title": None}, {"completed": None}, {"title": " "}])
async def test_change_refuses_null_for_required_fields(
    mine: TaskOwner, changes: dict[str, Any]
) -> None:
    task = await mine.create("one")
    with pytest.raises(BadInput):
        await mine.do(lambda t: t.change(task.id, **changes))
    assert await mine.do(lambda t: t.get(task.id)) == task


async def test_completed_at_keeps_first_time(committed: Database, committed_owner: OwnerId) -> None:
    """In transactions of their own, which have different times."""
    mine = TaskOwner(committed, committed_owner)
    task = await mine.create("one")
    done = await mine.do(lambda t: t.change(task.id, completed=True))
    assert done.completed_at is not None
    again = await mine.do(lambda t: t.change(task.id, completed=True))
    assert again.completed_at == done.completed_at < again.updated_at
    reopened = await mine.do(lambda t: t.change(task.id, completed=False))
    assert (reopened.completed, reopened.completed_at) == (False, None)


async def test_change_detects_lost_update(mine: TaskOwner) -> None:
    task = await mine.create("one")
    await mine.do(lambda t: t.change(task.id, title="two", expected_version=1))
    with pytest.raises(Conflict):
        await mine.do(lambda t: t.change(task.id, title="three", expected_version=1))
    assert (await mine.do(lambda t: t.get(task.id))).title == "two"


async def test_change_without_values_checks_expected_version(mine: TaskOwner) -> None:
    task = await mine.create("one")
    assert await mine.do(lambda t: t.change(task.id, expected_version=1)) == task
    await mine.do(lambda t: t.change(task.id, title="two"))
    with pytest.raises(Conflict) as caught:
        await mine.do(lambda t: t.change(task.id, expected_version=1))
    assert caught.value.field == "expectedVersion"


async def test_missing_row_error_names_the_given_field(mine: TaskOwner, theirs: TaskOwner) -> None:
    task = await theirs.create("theirs")
    with pytest.raises(Forbidden) as forbidden:
        await mine.do(lambda t: t.require(task.id, field="taskId"))
    with pytest.raises(NotFound) as not_found:
        await mine.do(lambda t: t.require(new_id(), field=None))
    assert (forbidden.value.field, not_found.value.field) == ("taskId", None)


@pytest.mark.parametrize("change", ["change", "toggle", "remove"])
async def test_change_of_other_owner_is_forbidden_and_missing_is_not_found(
    mine: TaskOwner, theirs: TaskOwner, change: str
) -> None:
    task = await theirs.create("theirs")
    arguments = {"title": "mine now"} if change == "change" else {}
    with pytest.raises(Forbidden):
        await mine.do(lambda t: getattr(t, change)(task.id, **arguments))
    with pytest.raises(NotFound):
        await mine.do(lambda t: getattr(t, change)(new_id(), **arguments))
    assert await theirs.do(lambda t: t.get(task.id)) == task


async def test_tasks_of_other_owner_are_not_visible(mine: TaskOwner, theirs: TaskOwner) -> None:
    task = await theirs.create("secret")
    assert await mine.do(lambda t: t.get(task.id)) is None
    assert await mine.do(lambda t: t.get_many([task.id])) == []
    assert await mine.titles(Window(10)) == []
    assert await mine.titles(Window(10), TaskFilter(search="secret")) == []
    assert (await mine.do(Tasks.stats)).total == 0
    since = datetime(2000, 1, 1, tzinfo=UTC)
    assert await mine.do(lambda t: anext(t.changed_since(since), None)) is None
    await theirs.do(lambda t: t.toggle(task.id))
    assert await mine.do(Tasks.remove_completed) == []


async def test_toggle_reverses_completed(mine: TaskOwner) -> None:
    task = await mine.create("one")
    done = await mine.do(lambda t: t.toggle(task.id))
    assert done.completed
    assert done.completed_at is not None
    assert await mine.do(Tasks.stats) == (1, 1, 0)
    assert not (await mine.do(lambda t: t.toggle(task.id))).completed


async def test_toggle_is_exact_under_concurrency(
    committed: Database, committed_owner: OwnerId
) -> None:
    user = TaskOwner(committed, committed_owner)
    task = await user.create("one")
    await asyncio.gather(
        *(
            committed.write(lambda session: Tasks(session, committed_owner).toggle(task.id))
            for _ in range(101)
        )
    )
    after = await user.do(lambda t: t.get(task.id))
    assert (after.completed, after.version) == (True, 102)


async def test_page_follows_in_both_directions(mine: TaskOwner) -> None:
    for number in range(7):
        await mine.create(f"{number}")
    order = SortOrder("created_at", descending=False)
    first = await mine.do(lambda t: t.page(Window(3), EVERY, order))
    assert [row.title for row in first.rows] == ["0", "1", "2"]
    assert (first.has_previous, first.has_next) == (False, True)
    second = await mine.do(lambda t: t.page(Window(3, after=first.cursor(-1)), EVERY, order))
    assert [row.title for row in second.rows] == ["3", "4", "5"]
    back = Window(3, backward=True, before=second.cursor(0))
    assert (await mine.do(lambda t: t.page(back, EVERY, order))).rows == first.rows
    last = await mine.do(lambda t: t.page(Window(3, backward=True), EVERY, order))
    assert [row.title for row in last.rows] == ["4", "5", "6"]
    assert (last.has_previous, last.has_next) == (True, False)
    between = Window(9, after=first.cursor(0), before=second.cursor(1))
    assert await mine.titles(between, order=order) == ["1", "2", "3"]


async def test_page_is_stable_under_inserts_and_deletes(mine: TaskOwner) -> None:
    tasks = [await mine.create(f"{number}") for number in range(6)]
    page = await mine.do(lambda t: t.page(Window(2), EVERY, NEWEST))
    assert [row.title for row in page.rows] == ["5", "4"]
    await mine.create("newer")
    await mine.do(lambda t: t.remove(tasks[4].id))
    rest = await mine.titles(Window(10, after=page.cursor(-1)))
    assert rest == ["3", "2", "1", "0"]


async def test_page_sorts_titles_case_insensitively(mine: TaskOwner) -> None:
    for title in ["beta", "Alpha", "alpha", "Beta", "Émile"]:
        await mine.create(title)
    order = SortOrder("sort_title", descending=False)
    walked: list[str] = []
    after = None
    while page := (await mine.do(lambda t: t.page(Window(1, after=after), EVERY, order))):  # noqa: B023 - called at once
        walked += [row.title for row in page.rows]
        if not page.has_next:
            break
        after = page.cursor(-1)
    assert walked == ["Alpha", "alpha", "beta", "Beta", "Émile"]


@pytest.mark.parametrize(
    "cursor", ["", "nonsense", "WyJjcmVhdGVkX2F0Il0", "W10", "eyJhIjoxfQ", "é", "A" * 5000]
)
async def test_cursor_that_is_invalid_is_refused(mine: TaskOwner, cursor: str) -> None:
    with pytest.raises(BadInput) as caught:
        await mine.titles(Window(1, after=cursor))
    assert caught.value.field == "after"


async def test_cursor_of_another_order_is_refused(mine: TaskOwner) -> None:
    await mine.create("one")
    page = await mine.do(lambda t: t.page(Window(1), EVERY, NEWEST))
    with pytest.raises(BadInput, match="another order"):
        await mine.titles(Window(1, after=page.cursor(0)), order=SortOrder("updated_at"))


async def test_filters_are_combined(mine: TaskOwner) -> None:
    milk, bread = await mine.create("Buy MILK", "two litres"), await mine.create("Buy bread")
    await mine.do(lambda t: t.toggle(milk.id))
    assert await mine.titles(Window(9), TaskFilter(completed=True)) == ["Buy MILK"]
    assert await mine.titles(Window(9), TaskFilter(search="milk")) == ["Buy MILK"]
    assert await mine.titles(Window(9), TaskFilter(search="LITRES")) == ["Buy MILK"]
    assert await mine.titles(Window(9), TaskFilter(search="buy", completed=False)) == ["Buy bread"]
    now = datetime.fromisoformat(milk.created_at)
    assert await mine.titles(Window(9), TaskFilter(created_after=now + timedelta(1))) == []
    assert len(await mine.titles(Window(9), TaskFilter(created_before=now + timedelta(1)))) == 2
    assert await mine.do(lambda t: t.count(TaskFilter(search="buy"))) == 2
    assert bread.version == 1


@pytest.mark.parametrize("pattern", ["%", "_", "100%", "\\", "\\%", "'; DROP TABLE tasks; --"])
async def test_search_escapes_wildcards(mine: TaskOwner, pattern: str) -> None:
    await mine.create("plain")
    assert await mine.titles(Window(9), TaskFilter(search=pattern)) == []
    await mine.create(f"with {pattern} in it")
    assert await mine.titles(Window(9), TaskFilter(search=pattern)) == [f"with {pattern} in it"]


async def test_repository_runs_one_statement_per_call(
    mine: TaskOwner, statements: Statements
) -> None:
    with statements.expected(1):
        task = await mine.create("one")
    with statements.expected(1):
        await mine.do(lambda t: t.toggle(task.id))
    with statements.expected(1):
        await mine.titles(Window(50), TaskFilter(completed=True, search="one"))


async def test_changes_since_a_time_are_listed_once(mine: TaskOwner) -> None:
    before = await mine.do(lambda t: t.now())
    made = [await mine.create(title) for title in ("one", "two", "three")]

    async def changed(tasks: Tasks, moment: datetime) -> list[TaskRow]:
        found: list[TaskRow] = []
        async for rows in tasks.changed_since(moment):
            found += rows
            assert len(found) <= len(made)
        return found

    moment = datetime.fromisoformat(made[0].updated_at)
    assert await mine.do(lambda t: changed(t, moment)) == made
    assert await mine.do(lambda t: changed(t, before + timedelta(days=1))) == []
