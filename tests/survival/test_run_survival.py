"""After SIGKILL during a run, the next server interrupts the run and ends its statement."""

import asyncio
from pathlib import Path

from tests.docs.test_docs_runs import SAVE
from tests.fixtures.served import served
from tests.fixtures.targets import CANARY, Target

EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state } } }"""
COUNT = """SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(6%'"""


async def test_killed_server_interrupts_run_and_ends_statement(
    target: Target, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    async with served(folder) as first:
        connection = {
            "name": "Target",
            "host": "localhost",
            "port": target.port,
            "database": "postgres",
            "username": "ada",
            "password": CANARY,
            "savePassword": True,
        }
        saved = (await first.ask(SAVE, input=connection))["saveConnection"]["connection"]["id"]
        values = {"connectionId": saved, "statement": "SELECT pg_sleep(66)", "timeoutMs": 120_000}
        run = (await first.ask(EXECUTE, input=values))["executeQuery"]["run"]
        async with asyncio.timeout(10):
            while not await target.administer(COUNT):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.05)
        await first.kill("both")
    async with served(folder) as second, asyncio.timeout(30):
        query = "query($id: ID!) { queryRun(id: $id) { state error { message } } }"
        while (await second.ask(query, id=run["id"]))["queryRun"]["state"] != "INTERRUPTED":  # noqa: ASYNC110 - or here
            await asyncio.sleep(0.2)
        while await target.administer(COUNT):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
