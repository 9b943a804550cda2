"""After SIGKILL during a run, the next server interrupts the run and ends its statement."""

import asyncio
from pathlib import Path

from tests.fixtures.patience import patience
from tests.fixtures.served import Served, served
from tests.fixtures.targets import CANARY, SAVE, Target

EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state } } }"""
COUNT = """SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND query = 'SELECT pg_sleep(66)'"""


CONNECT = "mutation($input: ConnectInput!) { connect(input: $input) { connection { id } } }"


async def test_killed_server_interrupts_runs_and_ends_statements(
    target: Target, tmp_path: Path
) -> None:
    """Also those of a connection whose password was typed: it is not lost with the process."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with served(folder) as first:
        runs = [await start_run(first, target, typed=typed) for typed in (False, True)]
        async with patience():
            while await target.administer(COUNT) != len(runs):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.05)
        await first.kill("both")
    async with served(folder) as second, patience():
        query = "query($id: ID!) { queryRun(id: $id) { state error { message } } }"
        for run in runs:
            while (await second.ask(query, id=run))["queryRun"]["state"] != "INTERRUPTED":  # noqa: ASYNC110 - or here
                await asyncio.sleep(0.2)
        while await target.administer(COUNT):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def start_run(server: Served, target: Target, *, typed: bool) -> str:
    """Starts a statement; the password of its connection is stored, or typed to open it."""
    connection = target.connection(savePassword=not typed)
    saved = (await server.ask(SAVE, input=connection))["saveConnection"]["connection"]["id"]
    if typed:
        await server.ask(CONNECT, input={"id": saved, "password": CANARY})
    values = {"connectionId": saved, "statement": "SELECT pg_sleep(66)", "timeoutMs": 120_000}
    return str((await server.ask(EXECUTE, input=values))["executeQuery"]["run"]["id"])
