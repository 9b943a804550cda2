"""The catalogue that completion and search use: what makes it stale."""

import asyncio
from typing import Any

import pytest

from db.kit.base import OwnerId
from graph.kit.ids import parse_id
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.replicas import AddUser, OpenReplica, connect_to
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { state error { message } } } }"""
OPEN = """mutation($id: ID!) { openSession(input: {connectionId: $id, autocommit: false}) {
  session { id } } }"""
REFRESH = """mutation($id: ID!) { refreshCatalogue(input: {connectionId: $id}) {
  connection { id } } }"""


@pytest.fixture
async def saved(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


async def names(client: Client, saved: str) -> set[str]:
    """The tables of the schema `public` in the snapshot."""
    snapshot = await snapshot_of(client, saved)
    return {each.name for each in snapshot.relations if each.schema == "public"}


async def snapshot_of(client: Client, saved: str) -> Any:
    assert client.user is not None
    assert client.services is not None
    owner = OwnerId(client.user.id)
    return await client.services.catalogues.snapshot(owner, parse_id("conn", saved))


async def execute(client: Client, statement: str, **where: str) -> None:
    values = {"statement": statement, "waitMs": 30_000} | where
    run = (await client.ask(EXECUTE, input=values))["executeQuery"]["run"]
    assert run["state"] == "SUCCEEDED", run


async def test_run_that_changes_the_catalogue_makes_it_stale(ada: Client, saved: str) -> None:
    assert "stale_a" not in await names(ada, saved)
    try:
        await execute(ada, "CREATE TABLE stale_a AS SELECT 1 AS id", connectionId=saved)
        assert "stale_a" in await names(ada, saved)
        first = await snapshot_of(ada, saved)
        await execute(ada, "SELECT * FROM stale_a", connectionId=saved)
        await execute(ada, "INSERT INTO stale_a VALUES (2)", connectionId=saved)
        assert await snapshot_of(ada, saved) is first
    finally:
        await execute(ada, "DO $$ BEGIN DROP TABLE IF EXISTS stale_a; END $$", connectionId=saved)
    assert "stale_a" not in await names(ada, saved)


async def test_commit_of_a_session_makes_the_catalogue_stale(ada: Client, saved: str) -> None:
    session = (await ada.ask(OPEN, id=saved))["openSession"]["session"]["id"]
    await execute(ada, "CREATE TABLE stale_b (id int)", sessionId=session)
    assert "stale_b" not in await names(ada, saved)
    try:
        await execute(ada, "COMMIT", sessionId=session)
        assert "stale_b" in await names(ada, saved)
        first = await snapshot_of(ada, saved)
        await execute(ada, "INSERT INTO stale_b VALUES (2)", sessionId=session)
        await execute(ada, "COMMIT", sessionId=session)
        assert await snapshot_of(ada, saved) is first
    finally:
        await execute(ada, "DROP TABLE stale_b", sessionId=session)
        await execute(ada, "COMMIT", sessionId=session)


async def test_refresh_reads_the_catalogue_again_after_changes_of_others(
    ada: Client, bob: Client, saved: str, target: Target
) -> None:
    assert "stale_c" not in await names(ada, saved)
    await target.script("CREATE TABLE stale_c (id int)")
    try:
        assert "stale_c" not in await names(ada, saved)
        assert (await bob.send(REFRESH, id=saved)).code == "FORBIDDEN"
        assert "stale_c" not in await names(ada, saved)
        found = await ada.ask(REFRESH, id=saved)
        assert found["refreshCatalogue"]["connection"]["id"] == saved
        assert "stale_c" in await names(ada, saved)
    finally:
        await target.script("DROP TABLE stale_c")


async def test_run_at_one_replica_makes_the_catalogue_of_another_stale(
    open_replica: OpenReplica, add_user: AddUser, target: Target
) -> None:
    async with open_replica() as one, open_replica() as other:
        user = await add_user("Ada")
        here, owner = await one.person(user), OwnerId(user.id)
        saved = await connect_to(target, here)

        async def names_there() -> set[str]:
            found = await other.services.catalogues.snapshot(owner, parse_id("conn", saved))
            return {each.name for each in found.relations if each.schema == "public"}

        assert "stale_d" not in await names_there()
        await execute(here.client, "CREATE TABLE stale_d (id int)", connectionId=saved)
        try:
            async with asyncio.timeout(60):
                while "stale_d" not in await names_there():  # noqa: ASYNC110 - a read is the event
                    await asyncio.sleep(0.05)
        finally:
            await execute(here.client, "DROP TABLE stale_d", connectionId=saved)
