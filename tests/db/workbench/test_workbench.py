import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import psycopg
import pytest

from db.base import OwnerId, new_id
from db.connections import ConnectionRow, Connections, draft
from db.engine import Database
from db.errors import BadInput, Forbidden, HowdahError, NotFound, Overloaded
from db.vault import Vault
from db.workbench import Limits, Reach, Targets, Workbench, road
from db.workbench.failures import Unreachable
from tests.fixtures.targets import CANARY, Target, silent, speaking
from tests.fixtures.workbench import Shelf


async def one(connection: Any, sql: str) -> Any:
    row = await (await connection.execute(sql)).fetchone()
    return row[0] if row else None


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await met():  # noqa: ASYNC110 - a server has no event to await
            await asyncio.sleep(0.02)


async def until_no_guests(target: Target) -> None:
    """PostgreSQL tells of one who has left a moment later."""

    async def nobody() -> bool:
        return await target.guests() == 0

    await until(nobody)


async def test_a_saved_connection_opens_with_its_stored_password(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save()
    assert not workbench.is_connected(owner, saved)
    active = await workbench.connect(owner, saved)
    assert active.server_version.startswith("17.")
    assert active.tls is not None
    assert active.tls.startswith("TLSv1.3")
    assert (active.pool_size, active.idle, active.busy) == (1, 1, 0)
    assert workbench.active(owner) == [active]
    assert workbench.is_connected(owner, saved)
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT current_user") == "ada"
        assert workbench.active(owner)[0].busy == 1
    await workbench.disconnect(owner, saved)
    assert workbench.active(owner) == []
    await until_no_guests(target)


async def test_connecting_is_noted(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, database: Database
) -> None:
    saved = await shelf.save()
    await workbench.connect(owner, saved)
    async with database.read() as session:
        row = await Connections(session, owner).get(saved)
    assert row is not None
    assert (row.version, row.last_connected_at is None) == (1, False)


async def test_two_connects_at_once_build_one_pool(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(workbench.connect(owner, saved))
    assert len(workbench._living) == 1
    assert len(workbench.active(owner)) == 1
    assert await target.guests() == workbench.active(owner)[0].pool_size <= 4


async def test_a_password_that_is_not_saved_lives_as_long_as_the_connection(
    workbench: Workbench, shelf: Shelf, owner: OwnerId
) -> None:
    saved = await shelf.save(password=None)
    with pytest.raises(BadInput, match="asks for a password"):
        await workbench.connect(owner, saved)
    assert workbench.active(owner) == []
    with pytest.raises(BadInput, match="refused"):
        await workbench.connect(owner, saved, {"password": "wrong"})
    with pytest.raises(BadInput, match="asks for a password"):
        await workbench.connect(owner, saved)
    await workbench.connect(owner, saved, {"password": CANARY})
    await workbench.connect(owner, saved)
    for generation in workbench._open.values():
        await generation.pool.sleep()
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1
    await workbench.disconnect(owner, saved)
    with pytest.raises(BadInput, match="asks for a password"):
        await workbench.connect(owner, saved)


async def test_anothers_connection_is_refused_and_a_missing_one_is_not_found(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, other_owner: OwnerId
) -> None:
    saved = await shelf.save()
    await workbench.connect(owner, saved)
    empty = await draft({})
    attempts: list[Callable[[OwnerId, UUID], Awaitable[Any]]] = [
        workbench.connect,
        workbench.disconnect,
        lambda whose, which: workbench.lend(whose, which).__aenter__(),
        lambda whose, which: workbench.probe(whose, empty, connection_id=which),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            await attempt(other_owner, saved)
        with pytest.raises(NotFound):
            await attempt(owner, new_id())
    assert workbench.active(other_owner) == []
    assert workbench.is_connected(owner, saved)


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
async def test_a_borrower_leaves_nothing_behind(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, leave: str, is_there: str
) -> None:
    saved = await shelf.save()
    async with workbench.lend(owner, saved) as connection:
        backend = connection.info.backend_pid
        await connection.execute(leave)
        assert await one(connection, is_there)
    async with workbench.lend(owner, saved) as connection:
        assert connection.info.backend_pid == backend
        assert not await one(connection, is_there)


async def test_a_failed_transaction_and_manual_commits_are_put_right(
    workbench: Workbench, shelf: Shelf, owner: OwnerId
) -> None:
    saved = await shelf.save()
    async with workbench.lend(owner, saved) as connection:
        await connection.set_autocommit(False)
        with pytest.raises(psycopg.Error):
            await connection.execute("SELECT 1 / 0")
    async with workbench.lend(owner, saved) as connection:
        assert connection.autocommit
        assert await one(connection, "SELECT 1") == 1


async def test_a_broken_connection_is_not_lent_again(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save()
    async with workbench.lend(owner, saved) as connection:
        backend = connection.info.backend_pid
        await target.administer(f"SELECT pg_terminate_backend({backend})")
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")
    async with workbench.lend(owner, saved) as connection:
        assert connection.info.backend_pid != backend


async def test_a_server_that_hung_up_on_an_idle_connection_is_noticed(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save()
    await workbench.connect(owner, saved)
    await target.administer(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'howdah'"
    )
    await until_no_guests(target)
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1


async def test_a_borrower_who_is_cancelled_gives_it_back(
    workbench: Workbench, shelf: Shelf, owner: OwnerId
) -> None:
    saved = await shelf.save()
    running = asyncio.Event()

    async def run() -> None:
        async with workbench.lend(owner, saved) as connection:
            running.set()
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(run())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert workbench.active(owner)[0].busy == 0
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1


async def test_a_pool_is_bounded(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.workbench.awake.WAIT_S", 0.1)
    saved = await shelf.save()
    async with asyncio.timeout(10):
        lends = [workbench.lend(owner, saved) for _ in range(4)]
        for lend in lends:
            await lend.__aenter__()
        with pytest.raises(Overloaded):
            await workbench.lend(owner, saved).__aenter__()
        for lend in lends:
            await lend.__aexit__(None, None, None)


async def test_all_pools_together_are_bounded_and_the_unused_make_room(
    database: Database, vault: Vault, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    targets = Targets(Reach(private=True))
    limits = Limits(pool_size=2, connections=2)
    async with Workbench.opened(database, vault, targets, limits) as workbench:
        first, second, third = [await shelf.save() for _ in range(3)]
        async with workbench.lend(owner, first):
            await workbench.connect(owner, second)
            async with workbench.lend(owner, third):
                with pytest.raises(Overloaded):
                    await workbench.connect(owner, second)
    await until_no_guests(target)


async def test_the_unused_are_closed_and_open_again_on_demand(
    database: Database, vault: Vault, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    targets = Targets(Reach(private=True))
    limits = Limits(idle_s=0.05)
    async with Workbench.opened(database, vault, targets, limits) as workbench:
        saved = await shelf.save()
        async with workbench.lend(owner, saved):
            await asyncio.sleep(0.2)
            assert await target.guests() == 1
        await until_no_guests(target)
        assert workbench.active(owner)[0].pool_size == 0
        async with workbench.lend(owner, saved) as connection:
            assert await one(connection, "SELECT 1") == 1


async def test_a_disconnect_ends_what_is_running(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save()
    running = asyncio.Event()

    async def run() -> None:
        async with workbench.lend(owner, saved) as connection:
            running.set()
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(run())
    await running.wait()
    async with asyncio.timeout(5):
        await workbench.disconnect(owner, saved)
        with pytest.raises(psycopg.Error):
            await task
    await until_no_guests(target)


async def test_a_change_moves_to_a_new_generation_while_statements_finish(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save()
    async with workbench.lend(owner, saved) as old:
        row: ConnectionRow = await shelf.change(saved, username="trusted")
        workbench.renew(owner, row)
        async with workbench.lend(owner, saved) as new:
            assert await one(new, "SELECT current_user") == "trusted"
        assert await one(old, "SELECT current_user") == "ada"
        assert len(workbench._living) == 2

    async def only_the_new() -> bool:
        return len(workbench._living) == 1 and await target.guests() == 1

    await until(only_the_new)


async def test_a_new_name_asks_for_no_password_again_and_a_new_host_does(
    workbench: Workbench, shelf: Shelf, owner: OwnerId
) -> None:
    saved = await shelf.save(password=None)
    await workbench.connect(owner, saved, {"password": CANARY})
    workbench.renew(owner, await shelf.change(saved, name="Renamed"))
    assert workbench.is_connected(owner, saved)
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1
    workbench.renew(owner, await shelf.change(saved, host="127.0.0.1"))
    assert not workbench.is_connected(owner, saved)
    with pytest.raises(BadInput, match="asks for a password"):
        await workbench.connect(owner, saved)


async def test_a_deleted_connection_is_closed_when_it_is_met_next(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, database: Database, target: Target
) -> None:
    saved = await shelf.save()
    await workbench.connect(owner, saved)
    await database.write(lambda session: Connections(session, owner).remove(saved))
    with pytest.raises(NotFound):
        await workbench.lend(owner, saved).__aenter__()
    assert workbench.active(owner) == []
    await until_no_guests(target)


async def test_after_three_failures_the_next_come_at_once(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road, "CONNECT_S", 0.2)
    met = 0

    async def count(*ends: Any) -> None:
        nonlocal met
        met += 1
        await silent(*ends)

    async with speaking(count) as port:
        saved = await shelf.save(port=port)
        for _ in range(5):
            with pytest.raises(Unreachable):
                await workbench.connect(owner, saved)
    assert met == 3


async def test_a_wrong_password_is_tried_once_and_breaks_nothing(
    workbench: Workbench, shelf: Shelf, owner: OwnerId
) -> None:
    saved = await shelf.save(password="wrong", ssl_mode="DISABLE")
    for _ in range(5):
        with pytest.raises(BadInput, match="refused"):
            await workbench.connect(owner, saved)
    await workbench.connect(owner, saved, {"password": CANARY})


async def test_a_dead_target_delays_nobody(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road, "CONNECT_S", 5.0)
    async with speaking(silent) as port:
        dead, alive = await shelf.save(port=port), await shelf.save()
        stuck = [asyncio.create_task(workbench.connect(owner, dead)) for _ in range(20)]
        async with asyncio.timeout(4):
            for _ in range(20):
                async with workbench.lend(owner, alive) as connection:
                    assert await one(connection, "SELECT 1") == 1
        assert not any(task.done() for task in stuck)
        async with asyncio.timeout(4):
            await workbench.disconnect(owner, dead)
        outcomes = await asyncio.gather(*stuck, return_exceptions=True)
        assert all(isinstance(outcome, HowdahError) for outcome in outcomes)


@pytest.mark.parametrize(
    ("given", "ok"),
    [
        ({}, True),
        ({"password": "wrong"}, False),
        ({"database": "nowhere"}, False),
        ({"port": 1}, False),
        ({"ssl_mode": "REQUIRE"}, True),
    ],
)
async def test_a_connection_is_tried_out_without_opening_it(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, given: dict[str, Any], *, ok: bool
) -> None:
    saved = await shelf.save()
    whole = await draft({**shelf.usual, **given})
    changed = await draft(given)
    for trial in (
        await workbench.probe(owner, whole),
        await workbench.probe(owner, changed, connection_id=saved),
    ):
        assert (trial.problem is None) is ok
        assert (trial.latency_ms is not None) is ok
        assert (trial.tls is not None) is ok
    assert workbench.active(owner) == []


async def test_nobody_borrows_the_agent_of_a_server(
    workbench: Workbench, shelf: Shelf, owner: OwnerId
) -> None:
    tunnel = {"host": "localhost", "username": "ada", "auth_method": "AGENT"}
    with pytest.raises(BadInput, match="SSH agent"):
        await workbench.probe(owner, await draft({**shelf.usual, "ssh_tunnel": tunnel}))


async def test_a_hundred_cycles_leave_nothing(
    workbench: Workbench, shelf: Shelf, owner: OwnerId, target: Target
) -> None:
    saved = await shelf.save(ssl_mode="VERIFY_CA", ssl_root_certificate=target.certificate)
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
