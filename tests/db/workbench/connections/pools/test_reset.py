"""What a connection keeps for the next run, and what it never does."""

import asyncio
import contextlib

import pytest

from db.runs import RunRow
from db.workbench.connections.libpq import Connection, command
from db.workbench.execution.statement import connection_use
from tests.fixtures.patience import patience
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer
from tests.fixtures.runs import Desk
from tests.fixtures.workbench import ConnectionSaver, one

SHOW = "SHOW statement_timeout"
SETTING = "SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to prepare a connection for a run."""
    statements: list[str] = []

    async def record(connection: Connection, sql: str) -> None:
        statements.append(sql)
        await command(connection, sql)

    monkeypatch.setattr(connection_use, "command", record)
    return statements


async def shown(desk: Desk, run: RunRow) -> str:
    (row,) = await desk.rows(run)
    timeout: str = row[0]
    return timeout


async def run_and_reset(desk: Desk, statement: str, timeout_ms: int) -> RunRow:
    run = await desk.run(statement, timeout_ms=timeout_ms)
    await desk.until_idle()
    return run


async def test_run_with_the_same_timeout_need_not_set_it(desk: Desk, sent: list[str]) -> None:
    for _ in range(3):
        assert await shown(desk, await run_and_reset(desk, SHOW, 50_000)) == "50s"
    assert sent == []
    assert await shown(desk, await run_and_reset(desk, SHOW, 40_000)) == "40s"
    assert await shown(desk, await run_and_reset(desk, SHOW, 40_000)) == "40s"
    assert len(sent) == 1


@pytest.mark.parametrize("change", ["SET statement_timeout = 7", "RESET ALL", "DISCARD ALL"])
async def test_statement_cannot_change_the_timeout_of_the_next_run(desk: Desk, change: str) -> None:
    await run_and_reset(desk, change, 50_000)
    assert await shown(desk, await run_and_reset(desk, SHOW, 50_000)) == "50s"


async def test_short_timeout_is_not_kept(desk: Desk) -> None:
    shortest = connection_use.KEPT_FROM_MS
    for timeout_ms, kept in ((shortest, "10s"), (shortest - 1, "0")):
        await run_and_reset(desk, SHOW, timeout_ms)
        async with desk.server.workbench.lend(desk.owner, desk.connection_id) as connection:
            assert await one(connection, SHOW) == kept


async def test_timeout_is_kept_although_the_statement_failed(desk: Desk, sent: list[str]) -> None:
    for statement in ("SELECT 1 / 0", "not SQL", "SELECT pg_advisory_lock(1), 1 / 0"):
        run = await run_and_reset(desk, statement, 50_000)
        assert run.connection_usable
        assert await shown(desk, await run_and_reset(desk, SHOW, 50_000)) == "50s"
    assert sent == []


async def test_wait_for_a_connection_is_part_of_the_timeout(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection keeps the whole timeout for the next run nevertheless."""
    lend = desk.server.workbench.lend
    with monkeypatch.context() as patch:
        patch.setattr(connection_use, "LATE_S", 0.01)
        async with contextlib.AsyncExitStack() as lent:
            for _ in range(4):  # all that the pool has
                await lent.enter_async_context(lend(desk.owner, desk.connection_id))
            run = await desk.start(SETTING, timeout_ms=50_000)
            (pool,) = desk.server.workbench._pools._living
            async with patience():
                while not pool._pool.waiting:  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.001)
            await asyncio.sleep(2 * connection_use.LATE_S)
        ((left_ms,),) = await desk.rows(await desk.end_of(run))
    assert 0 < left_ms < 50_000
    await desk.until_idle()
    assert await shown(desk, await run_and_reset(desk, SHOW, 50_000)) == "50s"


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
async def test_session_of_a_pooler_keeps_no_timeout(desk: Desk, saver: ConnectionSaver) -> None:
    """Other clients of the pooler use the session after the run."""
    server = desk.target.destination()
    url = (
        f"postgresql://{server.username}:{server.password}@{server.host}:{desk.target.port}"
        f"/{server.database}"
    )
    async with pgbouncer(url, connections=1) as through:
        port = int(through.partition("127.0.0.1:")[2].partition("/")[0])
        pooled = desk._replace(connection_id=await saver.save(host="127.0.0.1", port=port))
        for _ in range(2):
            run = await run_and_reset(pooled, SHOW, 50_000)
            assert await shown(pooled, run) == "50s"
            async with desk.server.workbench.lend(desk.owner, pooled.connection_id) as connection:
                assert await one(connection, SHOW) == "0"
