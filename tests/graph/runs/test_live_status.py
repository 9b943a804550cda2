"""`queryStatus` over WebSocket: the current state, each change, the terminal state, completion."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from db.kit.base import OwnerId
from db.runs import Runs
from db.workbench.execution.live_status import topic_of_run
from graph.kit.ids import parse_id
from graph.runs import live_status
from tests.fixtures.patience import patience
from tests.fixtures.replicas import (
    AddUser,
    Gate,
    OpenReplica,
    Person,
    Replica,
    Socket,
    connect_to,
)
from tests.fixtures.targets import Target

STATUS = "subscription($id: ID!) { queryStatus(id: $id) { state revision rowCount } }"


class Scene(NamedTuple):
    """Ada on two replicas, with a run that the first executes until the gate opens."""

    one: Replica
    other: Replica
    ada: Person
    ada_elsewhere: Person
    run: str
    gate: Gate


@pytest.fixture
async def scene(
    open_replica: OpenReplica, add_user: AddUser, target: Target, gate: Gate
) -> AsyncIterator[Scene]:
    async with open_replica() as one, open_replica() as other:
        user = await add_user("Ada")
        ada = await one.person(user)
        connection = await connect_to(target, ada)
        run = await ada.execute(connection, f"SELECT 1, {gate.wait}")
        yield Scene(one, other, ada, await other.person(user), run, gate)
        await gate.open()


async def until_running(socket: Socket) -> int:
    """Waits for the state RUNNING; returns its revision."""
    while (status := (await socket.next())["queryStatus"])["state"] != "RUNNING":
        assert status["state"] == "QUEUED"
    return int(status["revision"])


async def rest_of(socket: Socket) -> list[Any]:
    return [response["queryStatus"] async for response in socket.rest()]


@pytest.mark.parametrize("where", ["ada", "ada_elsewhere"])
async def test_query_status_sends_current_state_then_changes_then_end(
    scene: Scene, where: str
) -> None:
    person: Person = getattr(scene, where)
    async with person.socket() as socket:
        await socket.subscribe(STATUS, id=scene.run)
        await until_running(socket)
        await scene.gate.open()
        received = await rest_of(socket)
    assert (received[-1]["state"], received[-1]["rowCount"]) == ("SUCCEEDED", 1)
    revisions = [status["revision"] for status in received]
    assert revisions == sorted(set(revisions))


async def test_query_status_after_end_sends_one_state(scene: Scene) -> None:
    async with scene.ada.socket() as socket:
        await socket.subscribe(STATUS, id=scene.run)
        await until_running(socket)
        await scene.gate.open()
        await rest_of(socket)
    for person in (scene.ada, scene.ada_elsewhere):
        async with person.socket() as socket:
            await socket.subscribe(STATUS, id=scene.run)
            assert [status["state"] for status in await rest_of(socket)] == ["SUCCEEDED"]


async def test_query_status_disconnect_does_not_stop_run(scene: Scene) -> None:
    async with scene.ada.socket() as socket:
        await socket.subscribe(STATUS, id=scene.run)
        seen = await until_running(socket)
        socket.drop()
    async with scene.ada.socket() as socket:
        await socket.subscribe(STATUS, id=scene.run)
        assert await until_running(socket) >= seen
        await scene.gate.open()
        assert (await rest_of(socket))[-1]["state"] == "SUCCEEDED"


async def test_query_status_releases_its_reader(scene: Scene) -> None:
    """Followers leave by dropping the socket and by completing the operation."""
    events = scene.one.services.events
    before, readers = events.readers, events.watches._readers
    async with scene.ada.socket() as dropping, scene.ada.socket() as staying:
        for socket in (dropping, staying):
            await socket.subscribe(STATUS, id=scene.run)
            await until_running(socket)
        (reader,) = readers.values()
        assert len(reader.followers) == 2
        dropping.drop()
        await staying.say(type="complete", id="1")
        async with patience():
            while readers:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        assert events.readers == before
    await scene.gate.open()


async def test_query_status_of_other_user_is_not_found(scene: Scene, add_user: AddUser) -> None:
    bob = await scene.one.person(await add_user("Bob"))
    async with scene.ada.socket() as hers, bob.socket() as his:
        await hers.subscribe(STATUS, id=scene.run)
        await until_running(hers)
        await his.subscribe(STATUS, id=scene.run)
        message = await his.hear()
        errors = message["payload"].get("errors") if message["type"] == "next" else None
        (error,) = errors or message["payload"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("NOT_FOUND", "id")
        await scene.gate.open()
        assert (await rest_of(hers))[-1]["state"] == "SUCCEEDED"


async def test_query_status_reaches_a_thousand_followers(scene: Scene) -> None:
    followers = 100
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(scene.ada.socket()) for _ in range(10)]
        names = [str(number) for number in range(followers)]
        for socket in sockets:
            for name in names:
                await socket.subscribe(STATUS, name=name, id=scene.run)
        ends = [asyncio.create_task(_ends(socket, followers)) for socket in sockets]
        readers = scene.one.services.events.watches._readers
        async with patience():
            while sum(len(reader.followers) for reader in readers.values()) < 1_000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert len(readers) == 1
        await scene.gate.open()
        assert await asyncio.gather(*ends) == [dict.fromkeys(names, "SUCCEEDED")] * 10


async def _ends(socket: Socket, followers: int) -> dict[str, str]:
    """Returns the last state of each operation of the socket, once all are complete."""
    last, complete = {}, 0
    while complete < followers:
        message = await socket.hear()
        if message["type"] == "complete":
            complete += 1
        else:
            last[message["id"]] = message["payload"]["data"]["queryStatus"]["state"]
    return last


async def test_query_status_skips_to_latest_for_slow_reader(
    open_replica: OpenReplica,
    add_user: AddUser,
    target: Target,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2,000 changes, each a message of 400 kB: 800 MB if all were kept for the slow client."""
    monkeypatch.setattr(live_status, "PROGRESS_INTERVAL_S", 0)
    changes, padding = 2_000, "x" * 400_000
    async with open_replica() as replica:
        ada = await replica.person(await add_user("Ada"))
        connection = await connect_to(target, ada)
        run = await ada.execute(connection, f"SELECT {gate.wait} -- {padding}")
        query = "subscription($id: ID!) { queryStatus(id: $id) { state revision statement } }"
        async with ada.socket(max_queue=1) as slow, ada.socket() as eager:
            await slow.subscribe(query, id=run)
            await eager.subscribe(STATUS, id=run)
            await until_running(eager)
            draining = asyncio.create_task(rest_of(eager))
            for _ in range(changes):
                await progress(replica, ada, parse_id("run", run))
            await gate.open()
            assert (await draining)[-1]["state"] == "SUCCEEDED"
            received = await rest_of(slow)
        revisions = [status["revision"] for status in received]
        assert received[-1]["state"] == "SUCCEEDED"
        assert revisions == sorted(set(revisions))
        assert revisions[-1] > changes
        assert len(received) < 100  # what the buffers of the socket hold


async def progress(replica: Replica, person: Person, run_id: UUID) -> None:
    """Records a page of rows, as the runner does."""
    assert person.client.user is not None
    owner = OwnerId(person.client.user.id)
    services = replica.services
    await services.database.write(
        lambda session: Runs(session, owner).add_page_totals(run_id, columns="[]", rows=1, size=1)
    )
    await services.events.publish(topic_of_run(run_id))
