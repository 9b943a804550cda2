"""Lent connections are clean, limited in number, and closed when idle."""

import asyncio
import contextlib
import gc
from pathlib import Path

import psutil
import psycopg
import pytest

from db.errors import Overloaded
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench import Limits, Reach, Targets, Workbench
from db.workbench.connections.pools import dblink
from tests.fixtures.patience import patience
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import ConnectionSaver, one, until, until_no_guests

SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
)
SETTING = "SELECT current_setting('%s', true) = '%s'"
LEAVINGS = [
    ("SET search_path = elsewhere", SETTING % ("search_path", "elsewhere")),
    ("SET ROLE ada; SET statement_timeout = 1", SETTING % ("statement_timeout", "1ms")),
    ("CREATE TEMP TABLE left_behind ()", "SELECT to_regclass('pg_temp.left_behind') IS NOT NULL"),
    (
        "SELECT pg_advisory_lock(42)",
        "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42",
    ),
    ("PREPARE left_behind AS SELECT 1", "SELECT count(*) > 0 FROM pg_prepared_statements"),
    ("LISTEN left_behind", "SELECT count(*) > 0 FROM pg_listening_channels()"),
    (
        "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) > 0 FROM pg_cursors WHERE name = 'left_behind'",
    ),
    ("SELECT set_config('my.secret', 'left', false)", SETTING % ("my.secret", "left")),
    ("BEGIN; CREATE TABLE left_behind ()", "SELECT to_regclass('left_behind') IS NOT NULL"),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        SETTING % ("transaction_read_only", "on"),
    ),
]


@pytest.mark.parametrize(("leave", "is_there"), LEAVINGS, ids=lambda sql: sql[:20])
async def test_session_state_is_reset_after_release(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, leave: str, is_there: str
) -> None:
    saved = await saver.save()
    async with workbench.lend(owner, saved) as connection:
        backend = connection.info.backend_pid
        await connection.execute(leave)
        assert await one(connection, is_there)
    async with workbench.lend(owner, saved) as connection:
        assert connection.info.backend_pid == backend
        assert not await one(connection, is_there)


async def test_dblink_connections_are_closed_after_release(
    workbench: Workbench,
    saver: ConnectionSaver,
    owner: OwnerId,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DISCARD ALL keeps them. The schema of the extension can have any name."""
    monkeypatch.setattr(dblink, "KNOWN_FOR_S", 0.0)
    saved = await saver.save()
    opens = (
        'SELECT "Its Schema".dblink_connect({} \'host=127.0.0.1 dbname=postgres user=ada '
        f"port={target.port} password={CANARY} application_name=far')"
    )
    are_open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'far'"

    async def all_are_closed() -> bool:
        return bool(await target.administer(are_open) == 0)

    await target.script('CREATE SCHEMA "Its Schema"; GRANT USAGE ON SCHEMA "Its Schema" TO ada')
    try:
        async with workbench.lend(owner, saved) as connection:
            backend = connection.info.backend_pid
        await target.script('CREATE EXTENSION dblink SCHEMA "Its Schema"')
        for names in (["'a',", "'b''\"',", ""], ["'a',"], [""], []):
            async with workbench.lend(owner, saved) as connection:
                assert connection.info.backend_pid == backend
                for name in names:
                    await connection.execute(opens.format(name))
                assert await one(connection, are_open) == len(names)
            await until(all_are_closed)
        functions = 'FUNCTION "Its Schema".dblink_disconnect()'
        await target.script(f"REVOKE EXECUTE ON {functions} FROM PUBLIC")
        async with workbench.lend(owner, saved) as connection:
            await connection.execute(opens.format(""))
        await until(all_are_closed)
        async with workbench.lend(owner, saved) as connection:
            assert connection.info.backend_pid != backend
    finally:
        await target.script('DROP SCHEMA "Its Schema" CASCADE')


async def test_transaction_state_is_reset_after_release(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId
) -> None:
    saved = await saver.save()
    async with workbench.lend(owner, saved) as connection:
        await connection.set_autocommit(False)
        with pytest.raises(psycopg.Error):
            await connection.execute("SELECT 1 / 0")
    async with workbench.lend(owner, saved) as connection:
        assert connection.autocommit
        assert await one(connection, "SELECT 1") == 1


async def test_broken_connection_is_not_lent_again(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    async with workbench.lend(owner, saved) as connection:
        backend = connection.info.backend_pid
        await target.administer(f"SELECT pg_terminate_backend({backend})")
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")
    async with workbench.lend(owner, saved) as connection:
        assert connection.info.backend_pid != backend


async def test_idle_connection_closed_by_server_is_replaced(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    await workbench.connect(owner, saved)
    await target.administer(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'howdah'"
    )
    await until_no_guests(target)
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1


async def test_cancelled_borrower_returns_its_connection(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId
) -> None:
    saved = await saver.save()
    running = asyncio.Event()

    async def run() -> None:
        async with workbench.lend(owner, saved) as connection:
            running.set()
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(run())
    await running.wait()

    async def sleeps() -> bool:
        async with workbench.lend(owner, saved) as other:
            return bool(await one(other, SLEEPING))

    await until(sleeps)  # PostgreSQL drops a cancel that arrives before the statement
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await workbench.active(owner))[0].busy == 0
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1


async def test_pool_is_bounded(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.workbench.connections.pools.connection_pool.WAIT_S", 0.1)
    saved = await saver.save()
    async with patience():
        lends = [workbench.lend(owner, saved) for _ in range(4)]
        for lend in lends:
            await lend.__aenter__()
        with pytest.raises(Overloaded):
            await workbench.lend(owner, saved).__aenter__()
        for lend in lends:
            await lend.__aexit__(None, None, None)


async def test_limit_of_all_pools_closes_idle_connections_for_new_ones(
    database: Database, vault: Vault, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    targets = Targets(Reach(private=True))
    limits = Limits(pool_size=2, connections=2)
    async with Workbench.opened(database, vault, targets, limits) as workbench:
        first, second, third = [await saver.save() for _ in range(3)]
        async with workbench.lend(owner, first):
            await workbench.connect(owner, second)
            async with workbench.lend(owner, third):
                with pytest.raises(Overloaded):
                    await workbench.connect(owner, second)
    await until_no_guests(target)


async def test_sessions_leave_connections_to_runs(
    database: Database, vault: Vault, saver: ConnectionSaver, owner: OwnerId
) -> None:
    """A session is held for hours, and a run waits for none of them."""
    targets = Targets(Reach(private=True))
    limits = Limits(connections=4)
    async with Workbench.opened(database, vault, targets, limits) as workbench:
        saved = await saver.save()
        async with contextlib.AsyncExitStack() as sessions:
            for _ in range(3):
                await sessions.enter_async_context(workbench.open_dedicated(owner, saved))
            with pytest.raises(Overloaded):
                await sessions.enter_async_context(workbench.open_dedicated(owner, saved))
            async with workbench.lend(owner, saved) as connection:
                assert await one(connection, "SELECT 1") == 1
        async with workbench.open_dedicated(owner, saved) as connection:
            assert await one(connection, "SELECT 1") == 1


async def test_idle_connections_are_closed_and_reopened_on_demand(
    database: Database, vault: Vault, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    targets = Targets(Reach(private=True))
    limits = Limits(idle_s=0.05)
    async with Workbench.opened(database, vault, targets, limits) as workbench:
        saved = await saver.save()
        async with workbench.lend(owner, saved):
            await asyncio.sleep(0.2)
            assert await target.guests() == 1
        await until_no_guests(target)
        assert (await workbench.active(owner))[0].pool_size == 0
        async with workbench.lend(owner, saved) as connection:
            assert await one(connection, "SELECT 1") == 1


async def test_disconnect_ends_running_statement(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    running = asyncio.Event()

    async def run() -> None:
        async with workbench.lend(owner, saved) as connection:
            running.set()
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(run())
    await running.wait()
    async with patience():
        await workbench.disconnect(owner, saved)
        with pytest.raises(psycopg.Error):
            await task
    await until_no_guests(target)


async def test_connect_and_disconnect_a_hundred_times_leaves_nothing(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save(ssl_mode="VERIFY_CA", ssl_root_certificate=target.certificate)
    process = psutil.Process()

    async def cycles(count: int) -> None:
        for _ in range(count):
            await workbench.connect(owner, saved)
            await workbench.disconnect(owner, saved)
        await until_no_guests(target)
        gc.collect()

    def holdings() -> tuple[int, int, int]:
        ports = [place for place in process.net_connections() if place.status == "LISTEN"]
        return len(list(Path("/dev/fd").iterdir())), len(asyncio.all_tasks()), len(ports)

    await cycles(20)
    before, memory = holdings(), process.memory_info().rss
    await cycles(100)
    assert all(now <= then for now, then in zip(holdings(), before, strict=True))
    assert process.memory_info().rss <= memory * 1.05
