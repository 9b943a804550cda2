"""Results survive their server, and other servers can read them while they arrive."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.database import connections_in_use
from tests.fixtures.replicas import AddUser, Gate, OpenReplica, Person, connect_to
from tests.fixtures.targets import Target

STATUS = "subscription($id: ID!) { queryStatus(id: $id) { state rowCount } }"
SERIES = "SELECT i, i::int8 AS big FROM generate_series(1, 5000) AS i"


async def ended(person: Person, run: str) -> Any:
    """The run in the last message."""
    async with person.socket() as socket:
        await socket.subscribe(STATUS, id=run)
        return [received["queryStatus"] async for received in socket.rest()][-1]


async def test_run_is_complete_after_restart(
    open_replica: OpenReplica, add_user: AddUser, target: Target
) -> None:
    user = await add_user("Ada")
    async with open_replica() as before:
        ada = await before.person(user)
        run = await ada.execute(await connect_to(target, ada), SERIES)
        assert await ended(ada, run) == {"state": "SUCCEEDED", "rowCount": 5_000}
    async with open_replica() as after:
        ada = await after.person(user)
        assert await ended(ada, run) == {"state": "SUCCEEDED", "rowCount": 5_000}
        for offset in (0, 99, 4_990, 5_000):
            found = await ada.run(run, first=20, offset=offset)
            expected = list(range(offset + 1, min(offset + 20, 5_000) + 1))
            assert found["rows"]["rows"] == [[i, str(i)] for i in expected]
            assert found["rows"]["hasMore"] == (offset + 20 < 5_000)
        answer = await after.http.get(found["downloadUrl"])
        assert answer.status_code == 200
        assert answer.text.splitlines() == ["i,big", *(f"{i},{i}" for i in range(1, 5_001))]


async def test_rows_are_read_on_another_replica_while_more_arrive(
    open_replica: OpenReplica, add_user: AddUser, target: Target, gate: Gate
) -> None:
    user = await add_user("Ada")
    async with open_replica() as one, open_replica() as other:
        here, there = await one.person(user), await other.person(user)
        held = f"{SERIES} UNION ALL SELECT 0, 0 FROM {gate.wait}"  # noqa: S608 - the test's own
        run = await here.execute(await connect_to(target, here), held)
        async with there.socket() as socket:
            await socket.subscribe(STATUS, id=run)
            received = (await socket.next())["queryStatus"]
            while received["rowCount"] < 1_000:
                received = (await socket.next())["queryStatus"]
            found = await there.run(run, first=10, offset=990)
            assert found["state"] == "RUNNING"
            assert found["downloadUrl"] is None
            assert [row[0] for row in found["rows"]["rows"]] == list(range(991, 1_001))
            await gate.open()
            assert [one["queryStatus"] async for one in socket.rest()][-1] == {
                "state": "SUCCEEDED",
                "rowCount": 5_001,
            }
        assert (await there.run(run, offset=5_000))["rows"] == {
            "rows": [[0, "0"]],
            "hasMore": False,
        }


async def test_rows_missing_from_store_are_reported(
    open_replica: OpenReplica, add_user: AddUser, target: Target, tmp_path: Path
) -> None:
    """Simulates a restore of the database without the objects."""
    user = await add_user("Ada")
    async with open_replica() as replica:
        ada = await replica.person(user)
        connection = await connect_to(target, ada)
        run = await ada.execute(connection, SERIES)
        await ended(ada, run)
        link = (await ada.run(run))["downloadUrl"]
        shutil.rmtree(tmp_path / "objects" / "runs")
        query = "query($id: ID!) { queryRun(id: $id) { state rows(first: 1) { rows } } }"
        refused = await ada.client.send(query, id=run)
        assert (refused.code, "no longer in the store" in refused.message) == ("NOT_FOUND", True)
        assert refused.errors[0]["extensions"]["hint"]
        known = await ada.ask("query($id: ID!) { queryRun(id: $id) { state rowCount } }", id=run)
        assert known == {"queryRun": {"state": "SUCCEEDED", "rowCount": 5_000}}
        answer = await replica.http.get(link)
        assert (answer.status_code, "no longer" in answer.text) == (404, True)
        again = await ada.execute(connection, "SELECT 1 AS i, 2 AS big")
        await ended(ada, again)
        assert (await ada.run(again))["rows"]["rows"] == [[1, 2]]


@pytest.mark.parametrize("bad", [{"first": 0}, {"first": 1_001}, {"offset": -1}])
async def test_rows_arguments_are_validated(
    open_replica: OpenReplica, add_user: AddUser, target: Target, bad: dict[str, int]
) -> None:
    async with open_replica() as replica:
        ada = await replica.person(await add_user("Ada"))
        run = await ada.execute(await connect_to(target, ada), "SELECT 1")
        query = """query($id: ID!, $first: Int = 1, $offset: Int = 0) {
          queryRun(id: $id) { rows(first: $first, offset: $offset) { rows } } }"""
        refused = await ada.client.send(query, id=run, **bad)
        assert refused.code == "BAD_USER_INPUT"
        assert refused.errors[0]["extensions"]["field"] in bad


async def test_cancel_answers_while_own_pool_is_exhausted(
    open_replica: OpenReplica, add_user: AddUser, target: Target, gate: Gate
) -> None:
    async with open_replica(database_pool_size=2) as replica:
        ada = await replica.person(await add_user("Ada"))
        run = await ada.execute(await connect_to(target, ada), f"SELECT {gate.wait}")
        await gate.reached()
        database = replica.services.database
        database._source._wait_s = 2  # type: ignore[attr-defined]  # of all that wait: one timer
        async with connections_in_use(database, 2):
            assert (await ada.client.send("{ tasks(first: 1) { nodes { id } } }")).code == (
                "OVERLOADED"
            )
            verdict = await ada.cancel(run)
        assert (verdict["outcome"], verdict["run"]["state"]) == ("CANCELLED", "CANCELLED")
