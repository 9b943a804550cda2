"""A script of a replica that is killed ends at the other one, and executes nothing more."""

import asyncio
from pathlib import Path
from typing import Any

from tests.fixtures.patience import patience
from tests.fixtures.script_desk import EXECUTE, READ, RUNS
from tests.fixtures.served import Served, served
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import Target
from tests.fixtures.workbench import until
from tests.survival.test_session_survival import KEYS, connect

SCRIPT = """INSERT INTO script_survivors VALUES (1);
INSERT INTO script_survivors SELECT 2 FROM pg_sleep(60);
INSERT INTO script_survivors VALUES (3);"""


async def test_script_of_killed_replica_is_interrupted(
    committed_url: str, target: Target, tmp_path: Path
) -> None:
    ours = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url} | KEYS
    async with served(tmp_path / "one", **ours) as one, served(tmp_path / "two", **ours) as two:
        connection = await connect(two, target)
        setup = await open_session(two, connection)
        await setup.do("DROP TABLE IF EXISTS script_survivors")
        await setup.do("CREATE TABLE script_survivors (id int)")
        values = {"connectionId": connection, "script": SCRIPT}
        script = (await one.ask(EXECUTE, input=values))["executeScript"]["scriptRun"]

        async def sleeps() -> bool:
            return bool((await now(two, script))["currentIndex"] == 1)

        await until(sleeps)
        await one.kill("server")
        ended = await until_ended(two, script)
        assert (ended["state"], ended["succeededCount"]) == ("INTERRUPTED", 1)
        assert "unknown" in ended["error"]["message"]
        assert ended["session"]["state"] == "CLOSED"
        runs = (await two.ask(RUNS, id=script["id"]))["scriptRun"]["runs"]["nodes"]
        assert [run["state"] for run in runs] == ["SUCCEEDED", "INTERRUPTED"]
        sleeping = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO script_sur%'"
        )

        async def is_gone() -> bool:
            return not await target.administer(sleeping)

        await until(is_gone)
        assert await setup.rows("SELECT id FROM script_survivors") == [[1]]


async def until_ended(server: Served, script: Any) -> Any:
    async with patience():
        while (found := await now(server, script))["finishedAt"] is None:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.1)
    return found


async def now(server: Served, script: Any) -> Any:
    return (await server.ask(READ, id=script["id"]))["scriptRun"]
