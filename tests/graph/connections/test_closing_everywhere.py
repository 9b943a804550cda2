"""A connection that is closed or deleted at one replica is used by none any more."""

import asyncio

import pytest

from tests.fixtures.patience import patience
from tests.fixtures.replicas import AddUser, OpenReplica, connect_to
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.fixtures.targets import Target
from tests.fixtures.workbench import until_no_guests

CLOSE = {
    name: f"mutation($id: ID!) {{ {name}(input: {{id: $id}}) {{ __typename }} }}"
    for name in ("disconnect", "deleteConnection")
}
STATEMENT = "SELECT pg_sleep(63)"
BUSY = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '{STATEMENT}'"  # noqa: S608


@pytest.mark.parametrize("mutation", CLOSE)
async def test_closing_a_connection_ends_runs_and_sessions_of_every_replica(
    open_replica: OpenReplica, add_user: AddUser, target: Target, mutation: str
) -> None:
    user = await add_user("Ada")
    async with open_replica() as first, open_replica() as second:
        people = [await replica.person(user) for replica in (first, second)]
        connection = await connect_to(target, people[0])
        sessions = [await open_session(person.client, connection) for person in people]
        runs = [await person.execute(connection, STATEMENT) for person in people]
        for session in sessions:
            await session.execute(STATEMENT, waitMs=0)
        async with patience():
            while await target.administer(BUSY) != 2 * len(people):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.02)
        await people[0].ask(CLOSE[mutation], id=connection)
        async with patience():
            while await target.administer(BUSY):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.02)
            for person, run in zip(people, runs, strict=True):
                while (await person.run(run))["state"] == "RUNNING":  # noqa: ASYNC110 - a process
                    await asyncio.sleep(0.02)
                assert (await person.run(run))["state"] == "FAILED"
        for session in sessions:
            assert await SessionDesk(people[1].client, session.id).until_closed() == "CLIENT"
        await until_no_guests(target)
