"""`progress` and `waiting` of runs in the API: sampled only if they are selected."""

from typing import Any
from uuid import UUID

import pytest

from db.kit.base import OwnerId
from db.services import Services
from tests.fixtures.blockers import session_of
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.patience import patience
from tests.fixtures.replicas import AddUser, Gate, OpenReplica, Person, Socket, connect_to
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import Target

WAITING = "waiting { eventType event since blockedBy { pid username applicationName state } }"
PROGRESS = "progress { command phase unit done total percent }"
RUN = f"query($id: ID!) {{ queryRun(id: $id) {{ state {WAITING} {PROGRESS} }} }}"
SAMPLED = f"subscription($id: ID!) {{ queryStatus(id: $id) {{ state {WAITING} {PROGRESS} }} }}"
NOT_SAMPLED = """subscription($id: ID!, $live: Boolean = false) { queryStatus(id: $id) {
  state ...Live @include(if: $live) ... @skip(if: true) { progress { done } } } }
  fragment Live on QueryRun { waiting { event } }"""


async def next_status(socket: Socket) -> Any:
    return (await socket.next())["queryStatus"]


async def until_waiting(socket: Socket) -> Any:
    while (status := await next_status(socket))["waiting"] is None:
        assert status["state"] in {"QUEUED", "RUNNING"}
    return status


def waits_for_reader(status: Any) -> bool:
    """The parts of a sample are read one after the other, so the first one may be of two phases."""
    blockers = (status["waiting"] or {"blockedBy": []})["blockedBy"]
    names = [each["applicationName"] for each in blockers]
    return (status["progress"]["phase"], names) == ("waiting for old snapshots", ["reader"])


def has_side_connection(services: Services) -> bool:
    return bool(services.live_samples._samplers)


@pytest.mark.parametrize("where", ["same replica", "other replica"])
async def test_query_status_says_for_whom_a_run_waits(
    open_replica: OpenReplica, add_user: AddUser, target: Target, gate: Gate, where: str
) -> None:
    async with open_replica() as one, open_replica() as other:
        user = await add_user("Ada")
        ada = await one.person(user)
        watching = one if where == "same replica" else other
        run = await ada.execute(await connect_to(target, ada), f"SELECT {gate.wait}")
        await gate.reached()
        person = await watching.person(user)
        async with person.socket() as socket, person.socket() as second:
            await socket.subscribe(SAMPLED, id=run)
            await second.subscribe(SAMPLED, id=run)
            status, same = await until_waiting(socket), await until_waiting(second)
            assert status == same
            assert (status["waiting"]["eventType"], status["waiting"]["event"]) == (
                "Lock",
                "advisory",
            )
            (blocker,) = status["waiting"]["blockedBy"]
            assert (blocker["username"], blocker["state"]) == ("postgres", None)
            assert status["progress"] is None
            assert (await person.ask(RUN, id=run))["queryRun"] == status
            assert len(watching.services.live_samples._samplers) == 1
            assert has_side_connection(one.services) is (watching is one)
            await gate.open()
            ends = [
                [update["queryStatus"] async for update in each.rest()][-1]
                for each in (socket, second)
            ]
        assert ends == [{"state": "SUCCEEDED", "waiting": None, "progress": None}] * 2


async def test_run_in_a_session_waits_for_another_session(ada: Client, target: Target) -> None:
    connection = await make_connection_to(ada, target)
    one, other = [await open_session(ada, connection) for _ in range(2)]
    await one.do("DROP TABLE IF EXISTS shared")
    await one.do("CREATE TABLE shared (id int PRIMARY KEY, name text)")
    await one.do("INSERT INTO shared VALUES (1)")
    await one.do("BEGIN")
    await one.do("UPDATE shared SET name = 'one'")
    await other.do("BEGIN")
    run = await other.execute("UPDATE shared SET name = 'other' RETURNING *", waitMs=0)
    async with ada.follow(SAMPLED, id=run["id"]) as received:
        status = (await anext(received)).data["queryStatus"]
        while status["waiting"] is None:
            status = (await anext(received)).data["queryStatus"]
        (blocker,) = status["waiting"]["blockedBy"]
        assert blocker["pid"] == (await one.now())["backendPid"]
        assert blocker["state"] == "idle in transaction"
        await one.roll_back()
        assert [each.data["queryStatus"]["state"] async for each in received][-1] == "SUCCEEDED"
    editable = "query($id: ID!) { queryRun(id: $id) { editable { tableName keyColumns } } }"
    assert (await ada.ask(editable, id=run["id"]))["queryRun"] == {
        "editable": {"tableName": "shared", "keyColumns": ["id"]}
    }
    assert (await other.now())["state"] == "IN_TRANSACTION"
    for session in (one, other):
        await session.close()


async def test_query_status_sends_progress_when_it_changes(
    open_replica: OpenReplica, add_user: AddUser, target: Target
) -> None:
    async with open_replica() as replica, session_of(target) as keeper:
        await keeper.execute("DROP TABLE IF EXISTS built; CREATE TABLE built (id int)")
        ada = await replica.person(await add_user("Ada"))
        holding = keeper.transaction()
        await holding.start()
        await keeper.execute("INSERT INTO built VALUES (1)")
        connection = await connect_to(target, ada)
        run = await ada.execute(connection, "CREATE INDEX CONCURRENTLY ON built (id)")
        async with ada.socket() as socket:
            await socket.subscribe(SAMPLED, id=run)
            status = await until_waiting(socket)
            assert status["progress"] == {
                "command": "CREATE INDEX CONCURRENTLY",
                "phase": "waiting for writers before build",
                "unit": "LOCK_HOLDERS",
                "done": 0,
                "total": 1,
                "percent": 0.0,
            }
            async with (
                session_of(target, application_name="reader") as reader,
                reader.transaction(isolation="repeatable_read"),
            ):
                await reader.fetch("SELECT FROM built")
                await holding.commit()
                while not waits_for_reader(status):
                    status = await next_status(socket)
            assert [update["queryStatus"] async for update in socket.rest()][-1]["state"] == (
                "SUCCEEDED"
            )
        await keeper.execute("DROP TABLE built")


async def test_nothing_is_sampled_unless_it_is_selected(
    open_replica: OpenReplica,
    add_user: AddUser,
    target: Target,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_replica() as replica:
        ada: Person = await replica.person(await add_user("Ada"))
        run = await ada.execute(await connect_to(target, ada), f"SELECT {gate.wait}")
        await gate.reached()
        asked: list[object] = []
        samples = replica.services.live_samples
        follow = samples.follow

        def counted(owner: OwnerId, run_id: UUID) -> Any:
            asked.append(run_id)
            return follow(owner, run_id)

        monkeypatch.setattr(samples, "follow", counted)
        async with ada.socket() as socket:
            await socket.subscribe(NOT_SAMPLED, id=run)
            assert (await next_status(socket))["state"] == "RUNNING"
            await ada.run(run)
            assert not has_side_connection(replica.services)
            await socket.subscribe(NOT_SAMPLED, name="2", id=run, live=True)
            async with patience():
                while True:
                    message = await socket.hear()
                    if (
                        message["id"] == "2"
                        and message["payload"]["data"]["queryStatus"]["waiting"]
                    ):
                        break
            assert len(asked) == 1  # by the second subscription only
            await gate.open()
            await ada.cancel(run)
