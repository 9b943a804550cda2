"""`taskChanged` with two replicas on one database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from db.kit.base import new_id
from db.postgres.statements import compile_statement
from db.services import Services, open_services
from db.settings import Settings
from db.users import UserRow, Users
from graph.app import build_app
from graph.auth import authenticate
from graph.schema import schema
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_task
from tests.fixtures.toy import calling
from tests.graph.tasks.test_tasks import followed

CHANGES = "subscription { taskChanged { kind id task { title version } } }"
RENAME = """
mutation($id: ID!, $version: Int) {
  updateTask(input: {id: $id, title: "renamed", expectedVersion: $version}) { task { version } }
}
"""
HANG_UP = compile_statement(
    text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'howdah events' AND datname = current_database()"
    )
)


class Replica(NamedTuple):
    """One of several servers, and who is signed in there."""

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


async def told(changes: Any) -> Any:
    return (await anext(changes)).data["taskChanged"]


async def test_a_change_reaches_its_owner_on_every_replica_after_its_commit(
    replicas: list[Replica],
) -> None:
    here, there = replicas
    async with asyncio.timeout(30), here.ada.follow(CHANGES) as changes:
        coming = asyncio.ensure_future(told(changes))
        await followed(here.services, here.ada)
        await make_task(there.bob, title="Bob's")
        task_id = await make_task(there.ada, title="Ada's")
        assert (await coming) == {
            "kind": "CREATED",
            "id": task_id,
            "task": {"title": "Ada's", "version": 1},
        }
        refused = await there.ada.send(RENAME, id=task_id, version=7)
        assert refused.code == "CONFLICT"
        await there.ada.ask(RENAME, id=task_id, version=1)
        assert await told(changes) == {
            "kind": "UPDATED",
            "id": task_id,
            "task": {"title": "renamed", "version": 2},
        }


async def test_what_happens_while_the_line_is_cut_arrives_after_all(
    replicas: list[Replica],
) -> None:
    here, there = replicas
    async with asyncio.timeout(30), here.ada.follow(CHANGES) as changes:
        coming = asyncio.ensure_future(told(changes))
        await followed(here.services, here.ada)
        first = await make_task(there.ada)
        assert (await coming)["id"] == first
        await there.services.database.write(lambda session: session.rows(HANG_UP))
        second = await make_task(there.ada)
        seen = await told(changes)
        while seen["id"] != second:
            seen = await told(changes)
        assert seen["task"]["version"] == 1
