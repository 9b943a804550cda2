"""Runs on two servers with every event bus: available, unavailable, and without one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from db.users import Users
from tests.fixtures.brokers import Broker, running
from tests.fixtures.connected import connected
from tests.fixtures.replicas import AddUser, Gate, OpenReplica, Person, Socket, connect_to
from tests.fixtures.targets import Target

STATUS = "subscription($id: ID!) { queryStatus(id: $id) { state } }"
ACTIVE = "subscription { activeQueriesChanged { id state } }"
KILL_LISTENERS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = 'howdah events' AND datname = current_database()"""


class Bus(NamedTuple):
    """An event bus, and how to interrupt it."""

    url: str | None
    cut: Callable[[], Awaitable[object]]
    mend: Callable[[], Awaitable[object]]


@pytest.fixture(scope="module", params=["postgres", "redis", "nats"])
async def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Broker | None]:
    if request.param == "postgres":
        yield None
        return
    async with running(request.param, tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def bus(broker: Broker | None, committed_url: str) -> Bus:
    async def kill_listeners() -> None:
        async with connected(committed_url) as connection:
            assert await connection.fetchval(KILL_LISTENERS)

    async def nothing() -> None:
        """The connections are restored automatically."""

    if broker is None:
        return Bus(None, kill_listeners, nothing)
    return Bus(broker.url, broker.kill, broker.start)


Meet = Callable[..., Any]


@pytest.fixture
def meet(open_replica: OpenReplica, add_user: AddUser, target: Target) -> Meet:
    """Ada at two servers, and the ID of her connection."""

    @asynccontextmanager
    async def met(*urls: str | None) -> AsyncIterator[tuple[Person, Person, str]]:
        async with AsyncExitStack() as stack:
            one, other = [
                await stack.enter_async_context(open_replica(events_url=url)) for url in urls
            ]
            user = await add_user("Ada")
            here, there = await one.person(user), await other.person(user)
            yield here, there, await connect_to(target, here)

    return met


async def states(socket: Socket) -> list[str]:
    return [received["queryStatus"]["state"] async for received in socket.rest()]


async def until_running(socket: Socket) -> None:
    while (await socket.next())["queryStatus"]["state"] != "RUNNING":
        pass


async def test_run_is_followed_and_cancelled_on_another_replica(
    bus: Bus, meet: Meet, gate: Gate
) -> None:
    async with meet(bus.url, bus.url) as (here, there, connection):
        run = await here.execute(connection, f"SELECT {gate.wait}")
        async with here.socket() as near, there.socket() as far:
            for socket in (near, far):
                await socket.subscribe(STATUS, id=run)
                await until_running(socket)
            verdict = await there.cancel(run)
            assert (verdict["outcome"], verdict["connectionUsable"]) == ("CANCELLED", True)
            assert [(await states(socket))[-1] for socket in (near, far)] == ["CANCELLED"] * 2
        assert (await here.cancel(run))["outcome"] == "ALREADY_FINISHED"


async def test_run_end_arrives_without_event_bus(bus: Bus, meet: Meet, gate: Gate) -> None:
    async with meet(bus.url, bus.url) as (here, there, connection):
        run = await here.execute(connection, f"SELECT {gate.wait}")
        async with here.socket() as near, there.socket() as far:
            for socket in (near, far):
                await socket.subscribe(STATUS, id=run)
                await until_running(socket)
            await bus.cut()
            try:
                await gate.open()
                assert [(await states(socket))[-1] for socket in (near, far)] == ["SUCCEEDED"] * 2
            finally:
                await bus.mend()


async def test_run_is_executed_and_cancelled_without_event_bus(
    bus: Bus, meet: Meet, gate: Gate
) -> None:
    async with meet(bus.url, bus.url) as (here, there, connection):
        await bus.cut()
        try:
            run = await here.execute(connection, f"SELECT {gate.wait}")
            async with there.socket() as far:
                await far.subscribe(STATUS, id=run)
                await until_running(far)
                verdict = await there.cancel(run)
                assert verdict["outcome"] == "CANCELLED"
                assert (await states(far))[-1] == "CANCELLED"
        finally:
            await bus.mend()


async def test_active_queries_on_another_replica_reach_only_their_owner(
    bus: Bus, meet: Meet, gate: Gate, open_replica: OpenReplica, add_user: AddUser
) -> None:
    async with (
        meet(bus.url, bus.url) as (here, there, connection),
        open_replica(events_url=bus.url) as third,
        there.socket() as far,
    ):
        bob = await third.person(await add_user("Bob"))
        async with bob.socket() as his:
            for socket in (far, his):
                await socket.subscribe(ACTIVE)
                assert await socket.next() == {"activeQueriesChanged": []}
            run = await here.execute(connection, f"SELECT {gate.wait}")
            active = (await far.next())["activeQueriesChanged"]
            assert [one["id"] for one in active] == [run]
            assert await there.ask("{ activeQueries { id } }") == {"activeQueries": [{"id": run}]}
            assert await bob.ask("{ activeQueries { id } }") == {"activeQueries": []}
            await gate.open()
            while active:
                active = (await far.next())["activeQueriesChanged"]
            await his.subscribe("{ viewer { name } }", name="2")
            assert (await his.hear())["id"] == "2"  # no event of Ada's came before


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
async def test_run_end_arrives_between_isolated_replicas(bus: Bus, meet: Meet, gate: Gate) -> None:
    """Both buses work, but are isolated, like a server killed between commit and event."""
    async with meet(None, bus.url) as (here, there, connection):
        run = await here.execute(connection, f"SELECT {gate.wait}")
        async with there.socket() as runs, there.socket() as lists:
            await runs.subscribe(STATUS, id=run)
            await until_running(runs)
            await lists.subscribe(ACTIVE)
            assert (await lists.next())["activeQueriesChanged"]
            await gate.open()
            assert (await states(runs))[-1] == "SUCCEEDED"
            assert await lists.next() == {"activeQueriesChanged": []}


async def test_subscription_survives_restart_of_database(
    open_replica: OpenReplica, target: Target, gate: Gate, tmp_path: Path
) -> None:
    """The end of the run is not lost: it is written once the database is available."""
    async with (
        running("postgres", tmp_path / "own") as own,
        open_replica(database_url=own.url) as replica,
    ):
        user = await replica.services.database.write(
            lambda session: Users(session).add(email="a@b.c", name="Ada", password_hash=None)
        )
        ada = await replica.person(user)
        run = await ada.execute(await connect_to(target, ada), f"SELECT {gate.wait}")
        async with ada.socket() as socket:
            await socket.subscribe(STATUS, id=run)
            await until_running(socket)
            await gate.reached()
            await own.kill()
            await gate.open()
            assert (await states(socket))[-1] == "SUCCEEDED"
