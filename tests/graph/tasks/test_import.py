import asyncio
import json
from typing import Any

import pytest

from db.services import Services
from graph.tasks.changes import Change, TaskChangeKind, _merge
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_task
from tests.fixtures.patience import patience
from tests.graph.tasks.test_tasks import followed

IMPORT = """
mutation Import($json: String!, $dryRun: Boolean) {
  importTasks(input: {json: $json, dryRun: $dryRun}) { created unchanged rejected { index reason } }
}
"""
TITLES = """
{ tasks(first: 100, orderBy: {field: TITLE, direction: ASC}) {
    nodes { title completed createdAt completedAt } } }
"""
OLD = [
    {"id": 1, "title": "Feed", "completed": True, "created_at": "2020-01-01T08:00:00"},
    {"id": "two", "title": "Wash", "done": "no"},
    {"id": 3, "title": "x" * 201},
]


async def imported(client: Client, old: Any, **variables: Any) -> Any:
    answer = await client.ask(IMPORT, json=json.dumps(old), **variables)
    return answer["importTasks"]


async def test_import_tasks_is_idempotent(ada: Client, bob: Client) -> None:
    first = await imported(ada, OLD)
    assert (first["created"], first["unchanged"]) == (2, 0)
    (rejected,) = first["rejected"]
    assert rejected["index"] == 2
    assert "201 characters" in rejected["reason"]
    again = await imported(ada, {"tasks": OLD})
    assert (again["created"], again["unchanged"], len(again["rejected"])) == (0, 2, 1)
    feed, wash = (await ada.ask(TITLES))["tasks"]["nodes"]
    assert (feed["title"], feed["completed"]) == ("Feed", True)
    assert feed["createdAt"] == feed["completedAt"] == "2020-01-01T08:00:00+00:00"
    assert (wash["title"], wash["completed"], wash["completedAt"]) == ("Wash", False, None)
    assert (await bob.ask(TITLES))["tasks"]["nodes"] == []
    assert (await imported(bob, OLD))["created"] == 2


async def test_import_tasks_dry_run_changes_nothing(ada: Client) -> None:
    tried = await imported(ada, OLD, dryRun=True)
    assert (tried["created"], tried["unchanged"], len(tried["rejected"])) == (2, 0, 1)
    assert (await ada.ask(TITLES))["tasks"]["nodes"] == []


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "null"])
async def test_import_tasks_without_list_is_bad_input(ada: Client, text: str) -> None:
    answer = await ada.send(IMPORT, json=text)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == "json"


async def test_import_tasks_reports_syntax_error_and_keeps_earlier_records(ada: Client) -> None:
    answer = await ada.ask(IMPORT, json='[{"title": "Feed"},\n {"title": "Wa')
    assert answer["importTasks"]["created"] == 1
    (rejected,) = answer["importTasks"]["rejected"]
    assert rejected["index"] == 1
    assert "line 2, column 12" in rejected["reason"]


async def test_import_tasks_requires_session(anonymous: Client) -> None:
    assert (await anonymous.send(IMPORT, json="[]")).code == "UNAUTHENTICATED"


async def test_task_changed_reports_import_as_one_change(ada: Client, services: Services) -> None:
    many = [{"title": f"{number}"} for number in range(400)]
    document = "subscription { taskChanged { kind taskId task { title } count } }"
    async with patience(), ada.follow(document) as changes:
        coming = asyncio.ensure_future(anext(changes))
        await followed(services, ada)
        await imported(ada, many, dryRun=True)
        await imported(ada, many)
        assert (await coming).data["taskChanged"] == {
            "kind": "IMPORTED",
            "taskId": None,
            "task": None,
            "count": 400,
        }
        await imported(ada, many)  # creates nothing
        await make_task(ada, title="the last")
        last = (await anext(changes)).data["taskChanged"]
    assert (last["kind"], last["task"], last["count"]) == ("CREATED", {"title": "the last"}, 1)


def test_unread_imports_are_counted_together() -> None:
    key = (TaskChangeKind.IMPORTED, None)
    merged = _merge({key: Change(*key, None, 400)}, {key: Change(*key, None, 3)})
    assert merged == {key: Change(*key, None, 403)}
