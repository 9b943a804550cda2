"""`taskChanged` with two replicas on one database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from db.errors import Overloaded
from db.kit.base import new_id
from db.postgres.statements import compile_change, compile_statement
from db.services import Services, open_services
from db.settings import Settings
from db.users import UserRow, Users
from graph.app import build_app
from graph.auth import authenticate
from graph.context import Context
from graph.schema import schema
from graph.tasks import changes as task_changes
from graph.tasks.changes import Change, TaskChangeKind, follow
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_task
from tests.fixtures.patience import patience
from tests.fixtures.toy import calling
from tests.graph.tasks.test_tasks import followed

CHANGES = "subscription { taskChanged { kind taskId task { title version } } }"
RENAME = """
mutation($id: ID!, $version: Int) {
  updateTask(input: {id: $id, title: "renamed", expectedVersion: $version}) { task { version } }
}
"""
TERMINATE_BUS_CONNECTIONS = compile_statement(
    text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'howdah events' AND datname = current_database()"
    )
)
INSERT_TASKS = compile_change(
    text(
        "INSERT INTO tasks (id, owner_id, title) "
        "SELECT gen_random_uuid(), :owner, 'bulk' FROM generate_series(1, 2500)"
    )
)


class Replica(NamedTuple):
    """One of several servers, with its signed-in users."""

    services: Services
    ada: Client
    bob: Client


async def person(services: Services, name: str) -> UserRow:
    email = f"{name}-{new_id().hex[-8:]}@example.com"
    return await services.database.write(
        lambda session: Users(session).add(email=email, name=name, password_hash=None)
    )


@pytest.fixture
async def replicas(committed_url: str, tmp_path: Path) -> AsyncIterator[list[Replica]]:
    settings = Settings(database_url=committed_url, env="development", data_dir=tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        every = [await stack.enter_async_context(open_services(settings)) for _ in range(2)]
        people = [await person(every[0], name) for name in ("ada", "bob")]
        found = []
        for services in every:
            app = build_app(
                settings,
                schema=schema,
                authenticate=authenticate,
                open_services=lambda _, opened=services: contextlib.nullcontext(opened),  # type: ignore[misc]  # a default binds it
            )
            http = await stack.enter_async_context(calling(app))
            clients = [
                Client(app, http, user, await services.identity.issue(user)) for user in people
            ]
            found.append(Replica(services, *clients))
        yield found


async def next_change(changes: Any) -> Any:
    return (await anext(changes)).data["taskChanged"]


async def test_task_changed_reaches_owner_on_other_replica_after_commit(
    replicas: list[Replica],
) -> None:
    here, there = replicas
    async with patience(), here.ada.follow(CHANGES) as changes:
        pending = asyncio.ensure_future(next_change(changes))
        await followed(here.services, here.ada)
        await make_task(there.bob, title="Bob's")
        task_id = await make_task(there.ada, title="Ada's")
        assert (await pending) == {
            "kind": "CREATED",
            "taskId": task_id,
            "task": {"title": "Ada's", "version": 1},
        }
        refused = await there.ada.send(RENAME, id=task_id, version=7)
        assert refused.code == "CONFLICT"
        await there.ada.ask(RENAME, id=task_id, version=1)
        assert await next_change(changes) == {
            "kind": "UPDATED",
            "taskId": task_id,
            "task": {"title": "renamed", "version": 2},
        }


async def test_task_changed_catches_up_after_lost_bus_connection(
    replicas: list[Replica],
) -> None:
    here, there = replicas
    async with patience(), here.ada.follow(CHANGES) as changes:
        pending = asyncio.ensure_future(next_change(changes))
        await followed(here.services, here.ada)
        first = await make_task(there.ada)
        assert (await pending)["taskId"] == first
        await there.services.database.write(lambda session: session.rows(TERMINATE_BUS_CONNECTIONS))
        second = await make_task(there.ada)
        seen = await next_change(changes)
        while seen["taskId"] != second:
            seen = await next_change(changes)
        assert seen["task"]["version"] == 1


async def context_of_ada(replica: Replica) -> Context:
    viewer = await authenticate(replica.services, replica.ada.headers["Authorization"])
    return Context(services=replica.services, viewer=viewer, request_id="")


async def test_task_changed_shares_one_reader_per_replica(replicas: list[Replica]) -> None:
    here, there = replicas
    context = await context_of_ada(here)
    async with patience(), contextlib.AsyncExitStack() as stack:
        streams = [follow(context) for _ in range(3)]
        for stream in streams:
            stack.push_async_callback(stream.aclose)  # type: ignore[attr-defined]  # a generator
        pending = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await followed(here.services, here.ada)
        await make_task(there.ada)
        first, second, third = await asyncio.gather(*pending)
        assert first is second is third
        assert len(here.services.events.watches._readers) == 1


async def test_task_changed_merges_changes_for_slow_subscriber(
    replicas: list[Replica],
) -> None:
    here, there = replicas
    context = await context_of_ada(here)
    async with patience():
        slow, eager = follow(context), follow(context)
        pending = [asyncio.ensure_future(anext(stream)) for stream in (slow, eager)]
        await followed(here.services, here.ada)
        await make_task(there.ada, title="first")
        await asyncio.gather(*pending)
        task_id = await make_task(there.ada, title="second")
        for version in range(1, 4):
            await there.ada.ask(RENAME, id=task_id, version=version)
        async for change in eager:
            if change.task and change.task.version == 4:
                break
        created, updated = await anext(slow), await anext(slow)
        assert (created.kind, created.task_id) == (TaskChangeKind.CREATED, updated.task_id)
        assert (updated.kind, updated.task and updated.task.version) == (TaskChangeKind.UPDATED, 4)
        for stream in (slow, eager):
            await stream.aclose()  # type: ignore[attr-defined]  # a generator


async def test_task_changed_fails_when_subscriber_is_too_slow(
    replicas: list[Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_changes, "MAX_UNSENT", 2)
    here, there = replicas
    context = await context_of_ada(here)
    async with patience():
        slow, eager = follow(context), follow(context)
        pending = [asyncio.ensure_future(anext(stream)) for stream in (slow, eager)]
        await followed(here.services, here.ada)
        await make_task(there.ada)
        await asyncio.gather(*pending)
        for _ in range(4):
            await make_task(there.ada)
            await anext(eager)
        with pytest.raises(Overloaded, match="more changes"):
            await anext(slow)
        await eager.aclose()  # type: ignore[attr-defined]  # a generator


async def follow_missed_insert(replica: Replica) -> tuple[AsyncIterator[Change], Change]:
    """Inserts 2,500 tasks without an event while the bus is away; returns the first change."""
    context = await context_of_ada(replica)
    stream = follow(context)
    pending = asyncio.ensure_future(anext(stream))
    await followed(replica.services, replica.ada)
    write = replica.services.database.write
    await write(lambda session: session.rows(INSERT_TASKS, owner=context.owner))
    await write(lambda session: session.rows(TERMINATE_BUS_CONNECTIONS))
    return stream, await pending


async def test_task_changed_catches_up_with_more_than_one_batch(replicas: list[Replica]) -> None:
    async with patience():
        stream, first = await follow_missed_insert(replicas[0])
        seen = {first.task_id}
        while len(seen) < 2_500:
            seen.add((await anext(stream)).task_id)
        await stream.aclose()  # type: ignore[attr-defined]  # a generator


async def test_task_changed_fails_when_too_many_changes_were_missed(
    replicas: list[Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_changes, "MAX_UNSENT", 1_500)
    async with patience():
        with pytest.raises(Overloaded, match="more changes"):
            await follow_missed_insert(replicas[0])
