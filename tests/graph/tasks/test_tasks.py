import asyncio
from typing import Any

import pytest

from db.services import Services
from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import make_task
from tests.fixtures.patience import patience

PAGE = """
query Page($first: Int, $after: String, $last: Int, $before: String,
           $filter: TaskFilter, $orderBy: TaskOrder) {
  tasks(first: $first, after: $after, last: $last, before: $before,
        filter: $filter, orderBy: $orderBy) {
    edges { cursor node { id title } }
    nodes { title }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}
"""
UPDATE = """
mutation Update($input: UpdateTaskInput!) {
  updateTask(input: $input) { task { title description completed completedAt version } }
}
"""
CREATE = """
mutation Create($input: CreateTaskInput!) { createTask(input: $input) { task { id title } } }
"""
TOGGLE = "mutation($id: ID!) { toggleTask(input: {id: $id}) { task { completed completedAt } } }"
CHANGES = "subscription { taskChanged { kind taskId task { title completed } } }"


def titles(page: dict[str, Any]) -> list[str]:
    return [node["title"] for node in page["tasks"]["nodes"]]


async def test_task_lifecycle(ada: Client) -> None:
    made = await ada.ask(
        'mutation { createTask(input: {title: " Feed ", description: "twice"}) { task '
        "{ id title description completed createdAt updatedAt completedAt version } } }"
    )
    task = made["createTask"]["task"]
    assert (task["title"], task["description"], task["version"]) == ("Feed", "twice", 1)
    assert task["createdAt"].endswith("+00:00")
    task_id = task["id"]
    changed = await ada.ask(UPDATE, input={"id": task_id, "description": None, "completed": True})
    assert changed["updateTask"]["task"]["description"] is None
    assert changed["updateTask"]["task"]["completedAt"] is not None
    toggled = await ada.ask(TOGGLE, id=task_id)
    assert toggled == {"toggleTask": {"task": {"completed": False, "completedAt": None}}}
    found = await ada.ask("query($id: ID!) { task(id: $id) { id title } }", id=task_id)
    assert found == {"task": {"id": task_id, "title": "Feed"}}
    gone = await ada.ask(
        "mutation($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId } }", id=task_id
    )
    assert gone == {"deleteTask": {"deletedTaskId": task_id}}
    assert await ada.ask("query($id: ID!) { node(id: $id) { id } }", id=task_id) == {"node": None}


async def test_toggle_task_repeated_with_expected_version_toggles_once(ada: Client) -> None:
    toggle = (
        "mutation($id: ID!, $version: Int) { toggleTask("
        "input: {id: $id, expectedVersion: $version}) { task { completed version } } }"
    )
    task_id = await make_task(ada)
    first = await ada.ask(toggle, id=task_id, version=1)
    assert first["toggleTask"]["task"] == {"completed": True, "version": 2}
    retried = await ada.send(toggle, id=task_id, version=1)
    assert retried.code == "CONFLICT"
    assert retried.errors[0]["extensions"]["field"] == "expectedVersion"
    task = await ada.ask("query($id: ID!) { task(id: $id) { completed version } }", id=task_id)
    assert task["task"] == {"completed": True, "version": 2}
    assert (await ada.ask(toggle, id=task_id, version=None))["toggleTask"]["task"]["version"] == 3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "x", "description": "x" * 1001}, "description"),
        ({"title": "x", "idempotencyKey": ""}, "idempotencyKey"),
    ],
)
async def test_create_task_refuses_bad_input(
    ada: Client, values: dict[str, str], field: str
) -> None:
    answer = await ada.send(CREATE, input=values)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == field
    assert answer.errors[0]["extensions"]["hint"]
    assert (await ada.ask(PAGE, first=1))["tasks"]["totalCount"] == 0


async def test_tasks_are_paged_by_cursor(ada: Client) -> None:
    for number in range(5):
        await make_task(ada, title=f"{number}")
    first = await ada.ask(PAGE, first=2)
    assert titles(first) == ["4", "3"]
    info = first["tasks"]["pageInfo"]
    assert info["hasNextPage"]
    assert not info["hasPreviousPage"]
    assert [edge["cursor"] for edge in first["tasks"]["edges"]] == [
        info["startCursor"],
        info["endCursor"],
    ]
    assert titles(await ada.ask(PAGE, first=2, after=info["endCursor"])) == ["2", "1"]
    last = await ada.ask(PAGE, last=2)
    assert titles(last) == ["1", "0"]
    before = last["tasks"]["pageInfo"]["startCursor"]
    assert titles(await ada.ask(PAGE, last=2, before=before)) == ["3", "2"]
    assert first["tasks"]["totalCount"] == 5


@pytest.mark.parametrize(
    "window", [{}, {"first": 0}, {"first": 1001}, {"last": -1}, {"first": 1, "last": 1}]
)
async def test_tasks_require_page_size_within_limits(ada: Client, window: dict[str, int]) -> None:
    answer = await ada.send(PAGE, **window)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] in {"first", "last"}


async def test_page_size_error_says_whether_it_is_missing_or_ambiguous(ada: Client) -> None:
    missing, both = await ada.send(PAGE), await ada.send(PAGE, first=1, last=1)
    assert missing.errors[0]["message"].startswith("The page size is missing")
    assert both.errors[0]["message"] == "Both `first` and `last` are set."


async def test_tasks_are_filtered_and_sorted(ada: Client) -> None:
    for title in ("beta", "Alpha", "gamma"):
        await make_task(ada, title=title)
    done = await make_task(ada, title="done already")
    await ada.ask(TOGGLE, id=done)
    by_title = {"field": "TITLE"}
    open_ones = await ada.ask(PAGE, first=9, filter={"completed": False}, orderBy=by_title)
    assert titles(open_ones) == ["Alpha", "beta", "gamma"]
    assert open_ones["tasks"]["totalCount"] == 3
    falling = {"field": "TITLE", "direction": "DESC"}
    assert titles(await ada.ask(PAGE, first=1, orderBy=falling)) == ["gamma"]
    assert titles(await ada.ask(PAGE, first=9, filter={"search": "ALP"})) == ["Alpha"]
    stats = await ada.ask("{ taskStats { total completed open } }")
    assert stats == {"taskStats": {"total": 4, "completed": 1, "open": 3}}
    gone = await ada.ask("mutation { deleteCompletedTasks { deletedTaskIds } }")
    assert gone == {"deleteCompletedTasks": {"deletedTaskIds": [done]}}


async def test_total_count_is_computed_only_if_selected(
    ada: Client, statements: Statements
) -> None:
    await make_task(ada)
    with statements.expected(1):
        await ada.ask("{ tasks(first: 9) { nodes { id title } pageInfo { hasNextPage } } }")
    with statements.expected(2):
        await ada.ask("{ tasks(first: 9) { nodes { id } totalCount } }")


async def test_tasks_of_other_user_are_not_visible(ada: Client, bob: Client) -> None:
    await make_task(ada, title="secret")
    assert (await bob.ask(PAGE, first=9))["tasks"] == {
        "edges": [],
        "nodes": [],
        "pageInfo": {
            "hasNextPage": False,
            "hasPreviousPage": False,
            "startCursor": None,
            "endCursor": None,
        },
        "totalCount": 0,
    }
    assert titles(await bob.ask(PAGE, first=9, filter={"search": "secret"})) == []
    assert (await bob.ask("{ taskStats { total } }"))["taskStats"]["total"] == 0
    await bob.ask("mutation { deleteCompletedTasks { deletedTaskIds } }")
    assert titles(await ada.ask(PAGE, first=9)) == ["secret"]


async def test_update_task_with_old_version_is_conflict(ada: Client) -> None:
    task_id = await make_task(ada)
    await ada.ask(UPDATE, input={"id": task_id, "title": "two", "expectedVersion": 1})
    answer = await ada.send(UPDATE, input={"id": task_id, "title": "three", "expectedVersion": 1})
    assert answer.code == "CONFLICT"
    assert titles(await ada.ask(PAGE, first=1)) == ["two"]


async def test_create_task_is_idempotent(ada: Client, bob: Client) -> None:
    asked = {"title": "once", "idempotencyKey": "k-1"}
    first = await ada.ask(CREATE, input=asked)
    assert await ada.ask(CREATE, input=asked) == first
    assert (await ada.send(CREATE, input=asked | {"title": "other"})).code == "CONFLICT"
    assert (await bob.ask(CREATE, input=asked)) != first
    assert (await ada.ask(PAGE, first=9))["tasks"]["totalCount"] == 1


async def followed(services: Services, client: Client) -> None:
    """Waits until a subscription to this client's tasks exists."""
    assert client.user is not None
    topic = f"tasks:{client.user.id.hex}"
    async with patience():
        while not services.events._subscriptions._by_topic.get(topic):  # noqa: ASYNC110 - the bus has no event for it
            await asyncio.sleep(0)


async def test_task_changed_reaches_owner_only(
    ada: Client, bob: Client, services: Services
) -> None:
    async with patience(), ada.follow(CHANGES) as changes:
        coming = asyncio.ensure_future(anext(changes))
        await followed(services, ada)
        await make_task(bob, title="not Ada's")
        task_id = await make_task(ada, title="hers")
        assert (await coming).data["taskChanged"] == {
            "kind": "CREATED",
            "taskId": task_id,
            "task": {"title": "hers", "completed": False},
        }
        await ada.ask(TOGGLE, id=task_id)
        assert (await anext(changes)).data["taskChanged"]["task"]["completed"] is True
        await ada.ask(
            "mutation($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId } }", id=task_id
        )
        assert (await anext(changes)).data["taskChanged"] == {
            "kind": "DELETED",
            "taskId": task_id,
            "task": None,
        }


async def test_task_changed_catches_up_once_after_missed_events(
    ada: Client, services: Services
) -> None:
    async with patience(), ada.follow(CHANGES) as changes:
        coming = asyncio.ensure_future(anext(changes))
        await followed(services, ada)
        first = await make_task(ada, title="told")
        assert (await coming).data["taskChanged"]["taskId"] == first
        coming = asyncio.ensure_future(anext(changes))
        publish, services.events.publish = services.events.publish, _lose  # type: ignore[method-assign]
        second = await make_task(ada, title="missed")
        services.events.publish = publish  # type: ignore[method-assign]
        services.events._subscriptions.mark_missed()
        caught_up = (await coming).data["taskChanged"]
        assert (caught_up["kind"], caught_up["taskId"]) == ("UPDATED", second)


async def _lose(topic: str, payload: str = "") -> None:
    """An event that never arrives."""


async def test_task_changed_requires_session(anonymous: Client) -> None:
    assert (await anonymous.first(CHANGES)).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_filter_refuses_times_out_of_range(ada: Client, moment: str) -> None:
    answer = await ada.send(PAGE, first=1, filter={"createdAfter": moment})
    assert answer.code == "BAD_USER_INPUT"
