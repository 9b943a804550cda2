"""Each mutation of a type that a subscription delivers publishes an event."""

from typing import Any

import pytest
from graphql import get_named_type

from db.services import Services
from graph.schema import schema
from graph.tasks import resolvers
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_task
from tests.graph.test_autocommit import ask, walk
from tests.graph.test_ownership import Door, Path, knock, own, prefixes

core: Any = schema._schema
NOT_BY_MUTATIONS = {
    "DatabaseConnection": "subscribers follow the opening and closing, which the workbench does",
    "DatabaseSession": "the process that holds the session publishes each change of state",
    "QueryRun": "the runner publishes each change of state",
    "SavedQuery": "a field of a run; no subscription follows its own changes",
    "ScriptRun": "the process that executes the script publishes each change",
}
"""Types whose changes are published elsewhere, with the reason."""


def followed_types() -> set[str]:
    """The nodes in the payloads of subscriptions."""
    nodes = {kind.name for kind in core.get_possible_types(core.type_map["Node"])}
    found = set()
    for field in core.subscription_type.fields.values():
        payload = get_named_type(field.type)
        parts = [get_named_type(part.type).name for part in payload.fields.values()]
        found |= nodes & {payload.name, *parts}
    return found - NOT_BY_MUTATIONS.keys()


def changes_of(name: str) -> list[Door]:
    """The mutations that return the type, or whose name contains its name."""
    found = []
    for door in walk("mutation"):
        payload: Any = get_named_type(door.definition.type)
        parts = {get_named_type(part.type).name for part in payload.fields.values()}
        if name in parts or name in door.field:
            found.append(door)
    return found


CHANGES = [door for name in sorted(followed_types()) for door in changes_of(name)]


@pytest.fixture
def published(services: Services, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    topics: list[str] = []
    publish = services.events.publish

    async def record(topic: str, payload: str = "") -> None:
        topics.append(topic)
        await publish(topic, payload)

    monkeypatch.setattr(services.events, "publish", record)
    return topics


async def send(admin: Client, door: Door, published: list[str]) -> None:
    """Sends the mutation; `published` then holds the topics of its events alone."""
    done = "mutation($id: ID!) { updateTask(input: {id: $id, completed: true}) { __typename } }"
    await admin.ask(done, id=await make_task(admin))  # for a mutation of all completed tasks
    paths: tuple[Path, ...] = (door.path, *door.others) if door.path else ()
    taken = await prefixes(admin, door) if paths else {}
    ids = {path: await own(admin, admin, taken[path][0]) for path in paths}
    published.clear()
    answer = await (knock(admin, door, ids) if paths else ask(door, admin))
    assert answer.code == "OK", answer


@pytest.mark.parametrize("door", CHANGES, ids=lambda door: door.field)
async def test_mutation_publishes_its_change(
    admin: Client, published: list[str], door: Door
) -> None:
    await send(admin, door, published)
    assert published, (
        f"{door.field} publishes nothing, so that subscribers miss the change: publish after the "
        "commit, as `publish_change` of graph/tasks/changes.py does"
    )


async def test_mutation_that_publishes_nothing_is_caught(
    admin: Client, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(resolvers, "publish_change", nothing)
    (door,) = (door for door in CHANGES if door.field == "toggleTask")
    await send(admin, door, published)
    assert published == []


def test_mutations_of_tasks_are_found() -> None:
    found = {door.field for door in CHANGES}
    assert found >= {"createTask", "toggleTask", "deleteTask", "deleteCompletedTasks"}
