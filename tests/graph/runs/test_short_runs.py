"""What a short run costs in Howdah's own database, and that it gives up nothing for it."""

import asyncio
import time
from math import inf
from typing import Any

import pytest

from db.workbench.execution import run_executor
from tests.fixtures.connected import connected
from tests.fixtures.patience import patience
from tests.fixtures.replicas import AddUser, OpenReplica, Person, connect_to
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { id state revision rowCount rows(first: 10) { rows } } } }"""
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
OTHERS = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
RUNS = 40
MAX_COMMITS = 4


async def execute(person: Person, connection: str, statement: str) -> Any:
    values = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
    return (await person.ask(EXECUTE, input=values))["executeQuery"]["run"]


async def commits_in(url: str, *, others: float = inf) -> tuple[int, int]:
    """The commits, and the number of other connections.

    Exact once all but `others` have ended: a backend reports its commits late, or at its end.
    """
    async with connected(url) as connection:
        async with patience():
            while (left := await connection.fetchval(OTHERS)) > others:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        return await connection.fetchval(COMMITS), left


@pytest.mark.parametrize("statement", ["SELECT 1", "INSERT INTO short VALUES (1) RETURNING a"])
async def test_short_run_takes_few_commits(
    open_replica: OpenReplica,
    add_user: AddUser,
    target: Target,
    committed_url: str,
    statement: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted as the difference of two servers, of which one executes more runs.

    A run takes four: its acceptance, its end, and a NOTIFY, which PostgreSQL counts twice: where it
    is sent and where it is received.
    """
    monkeypatch.setattr(run_executor, "ANNOUNCE_AFTER_S", 60)  # on a slow machine all runs are slow
    ada, began = await add_user("Ada"), time.monotonic()
    taken = []
    for runs in (2, 2 + RUNS):
        before, others = await commits_in(committed_url)
        async with open_replica() as replica:
            person = await replica.person(ada)
            connection = await connect_to(target, person)
            await execute(person, connection, "CREATE TABLE IF NOT EXISTS short (a int)")
            for _ in range(runs):
                run = await execute(person, connection, statement)
                assert (run["state"], run["rows"]) == ("SUCCEEDED", {"rows": [[1]]})
        after, _ = await commits_in(committed_url, others=others)
        taken.append(after - before)
    background = 5 * (2 + time.monotonic() - began)  # heartbeats, and the search for orphans
    assert taken[1] - taken[0] <= MAX_COMMITS * RUNS + background
