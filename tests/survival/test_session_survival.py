"""Sessions of a replica that freezes or is killed end at the other one, and on the target."""

import signal
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.fixtures.connected import connected
from tests.fixtures.served import Served, new_keys, served
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.fixtures.targets import SAVE, Target
from tests.fixtures.workbench import until

KEYS = new_keys()
RUN = "query($id: ID!) { queryRun(id: $id) { state error { message } } }"


async def connect(server: Served, target: Target) -> str:
    connection = target.connection(savePassword=True)
    return str((await server.ask(SAVE, input=connection))["saveConnection"]["connection"]["id"])


async def holding(server: Served, connection: str, key: int, **options: Any) -> SessionDesk:
    """A session with an open transaction that has inserted a row."""
    desk = await open_session(server, connection, **options)
    await desk.do("BEGIN")
    await desk.do("INSERT INTO survivors VALUES ($1)", parameters=[key])
    return desk


async def is_gone(target: Target, desk: SessionDesk) -> bool:
    pid = (await desk.now())["backendPid"]
    return not await target.administer(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")  # noqa: S608


async def pass_time(url: str, desk: SessionDesk) -> None:
    """The transaction of the session should have been ended a minute ago."""
    async with connected(url) as connection:
        await connection.execute(
            "UPDATE database_sessions SET expires_at = now() - interval '1 minute',"
            " transaction_started_at = now() - interval '1 day' WHERE id = $1",
            UUID(hex=desk.id.partition("_")[2]),
        )


async def are_live(url: str, count: int) -> bool:
    """Whether that many processes are alive and have sent a heartbeat just now."""
    async with connected(url) as connection:
        found = await connection.fetchval(
            "SELECT count(*) FROM replica_processes"
            " WHERE fenced_at IS NULL AND seen_at > clock_timestamp() - interval '4 s'"
        )
    return bool(found == count)


async def test_sessions_of_frozen_and_killed_replica_are_closed(
    committed_url: str, target: Target, tmp_path: Path
) -> None:
    ours = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url} | KEYS
    async with served(tmp_path / "one", **ours) as one, served(tmp_path / "two", **ours) as two:
        connection = await connect(two, target)
        setup = await open_session(two, connection)
        await setup.do("DROP TABLE IF EXISTS survivors")
        await setup.do("CREATE TABLE survivors (id int)")
        overdue = await holding(one, connection, 1)
        closed = await holding(one, connection, 2)
        one.signal(signal.SIGSTOP)
        queued = await SessionDesk(two, overdue.id).execute("COMMIT", waitMs=0)
        seen = SessionDesk(two, closed.id)
        assert (await seen.close())["closeReason"] == "CLIENT"
        await until(lambda: is_gone(target, seen))
        overdue = SessionDesk(two, overdue.id)
        await pass_time(committed_url, overdue)
        assert await overdue.until_closed() == "TRANSACTION_TIMEOUT"
        await until(lambda: is_gone(target, overdue))
        assert (await two.ask(RUN, id=queued["id"]))["queryRun"]["state"] == "INTERRUPTED"
        one.signal(signal.SIGCONT)
        await until(lambda: are_live(committed_url, 2))  # also if the other found it dead
        killed = await holding(one, connection, 3)
        assert await setup.rows("SELECT id FROM survivors") == []
        run = await killed.execute("SELECT pg_sleep(60)", waitMs=0)
        waiting = await SessionDesk(two, killed.id).execute("COMMIT", waitMs=0)
        await one.kill("server")
        killed = SessionDesk(two, killed.id)
        assert await killed.until_closed() == "LOST"
        await until(lambda: is_gone(target, killed))
        ended = [(await two.ask(RUN, id=one["id"]))["queryRun"] for one in (run, waiting)]
        assert [one["state"] for one in ended] == ["INTERRUPTED"] * 2
        assert "before it began" in ended[1]["error"]["message"]
        assert await setup.rows("SELECT id FROM survivors") == []
