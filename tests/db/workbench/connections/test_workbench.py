"""Saved connections are opened, changed, tested and closed, each for its owner."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.connections import Connections, parse_draft
from db.errors import BadInput, Conflict, Forbidden, HowdahError, NotFound, Unavailable
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database
from db.postgres.statements import compile_change
from db.workbench import Workbench
from db.workbench.connections import connector
from db.workbench.connections.connection_errors import Unreachable
from tests.fixtures.collectors import Collector
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.targets import CANARY, Target, silent, speaking
from tests.fixtures.workbench import ConnectionSaver, one, until, until_no_guests


async def is_open(workbench: Workbench, owner: OwnerId, connection_id: UUID) -> bool:
    return connection_id in [active.connection_id for active in await workbench.active(owner)]


async def test_saved_connection_opens_with_its_stored_password(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    assert not await is_open(workbench, owner, saved)
    active = await workbench.connect(owner, saved)
    assert active.server_version.startswith("17.")
    assert active.tls is not None
    assert active.tls.startswith("TLSv1.3")
    assert (active.pool_size, active.idle, active.busy) == (1, 1, 0)
    assert await workbench.active(owner) == [active]
    assert await is_open(workbench, owner, saved)
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT current_user") == "ada"
        assert (await workbench.active(owner))[0].busy == 1
    await workbench.disconnect(owner, saved)
    assert await workbench.active(owner) == []
    await until_no_guests(target)


async def test_connect_records_time_of_last_connection(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, database: Database
) -> None:
    saved = await saver.save()
    await workbench.connect(owner, saved)
    async with database.read() as session:
        row = await Connections(session, owner).get(saved)
    assert row is not None
    assert (row.version, row.last_connected_at is None) == (1, False)


async def test_concurrent_connects_open_one_pool(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(workbench.connect(owner, saved))
    assert len(workbench._pools._living) == 1
    assert len(await workbench.active(owner)) == 1
    assert await target.guests() == (await workbench.active(owner))[0].pool_size <= 4


async def test_connection_of_other_owner_is_refused_and_missing_one_not_found(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, other_owner: OwnerId
) -> None:
    saved = await saver.save()
    await workbench.connect(owner, saved)
    empty = await parse_draft({})
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
    assert await workbench.active(other_owner) == []
    assert await is_open(workbench, owner, saved)


async def test_changed_connection_gets_new_pool_while_statements_finish(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    async with workbench.lend(owner, saved) as old:
        row = await saver.change(saved, username="trusted", password=CANARY)
        workbench.renew(owner, row)
        async with workbench.lend(owner, saved) as new:
            assert await one(new, "SELECT current_user") == "trusted"
        assert await one(old, "SELECT current_user") == "ada"
        assert len(workbench._pools._living) == 2

    async def only_the_new() -> bool:
        return len(workbench._pools._living) == 1 and await target.guests() == 1

    await until(only_the_new)


async def test_deleted_connection_is_closed_at_next_use(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, database: Database, target: Target
) -> None:
    saved = await saver.save()
    await workbench.connect(owner, saved)
    await database.write(lambda session: Connections(session, owner).remove(saved))
    with pytest.raises(NotFound):
        await workbench.lend(owner, saved).__aenter__()
    assert await workbench.active(owner) == []
    await until_no_guests(target)


async def test_connect_fails_fast_after_three_failures(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "CONNECT_S", 0.2)
    met = 0

    async def count(*ends: Any) -> None:
        nonlocal met
        met += 1
        await silent(*ends)

    async with speaking(count) as port:
        saved = await saver.save(port=port)
        for _ in range(5):
            with pytest.raises(Unreachable):
                await workbench.connect(owner, saved)
        await until(lambda: asyncio.sleep(0, met >= 3))  # the server may still accept the third
    assert met == 3


async def test_wrong_password_is_sent_once_and_does_not_open_breaker(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId
) -> None:
    saved = await saver.save(password="wrong", ssl_mode="DISABLE")
    for _ in range(5):
        with pytest.raises(BadInput, match="refused"):
            await workbench.connect(owner, saved)
    await workbench.connect(owner, saved, {"password": CANARY})


async def test_dead_target_does_not_delay_others(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "CONNECT_S", 2 * PATIENCE_S)
    async with speaking(silent) as port:
        dead, alive = await saver.save(port=port), await saver.save()
        stuck = [asyncio.create_task(workbench.connect(owner, dead)) for _ in range(20)]
        async with patience():
            for _ in range(20):
                async with workbench.lend(owner, alive) as connection:
                    assert await one(connection, "SELECT 1") == 1
        assert not any(task.done() for task in stuck)
        async with patience():
            await workbench.disconnect(owner, dead)
        outcomes = await asyncio.gather(*stuck, return_exceptions=True)
        assert all(isinstance(outcome, HowdahError) for outcome in outcomes)


@pytest.mark.parametrize(
    ("given", "ok"),
    [
        ({}, True),
        ({"password": "wrong"}, False),
        ({"database": "nowhere"}, False),
        ({"port": 1, "password": CANARY}, False),
        ({"ssl_mode": "REQUIRE", "password": CANARY}, True),
    ],
)
async def test_probe_does_not_open_the_connection(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, given: dict[str, Any], *, ok: bool
) -> None:
    saved = await saver.save()
    whole = await parse_draft({**saver.usual, **given})
    changed = await parse_draft(given)
    for trial in (
        await workbench.probe(owner, whole),
        await workbench.probe(owner, changed, connection_id=saved),
    ):
        assert (trial.problem is None) is ok
        assert (trial.latency_ms is not None) is ok
        assert (trial.tls is not None) is ok
    assert await workbench.active(owner) == []


async def test_ssh_agent_of_server_is_not_lent(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId
) -> None:
    tunnel = {"host": "localhost", "username": "ada", "auth_method": "AGENT"}
    with pytest.raises(BadInput, match="SSH agent"):
        await workbench.probe(owner, await parse_draft({**saver.usual, "ssh_tunnel": tunnel}))


_TAMPER = compile_change(
    text("UPDATE database_connections SET port = :port WHERE id = :id RETURNING id")
)


async def test_pool_of_earlier_destination_does_not_get_newer_secret(
    workbench: Workbench,
    saver: ConnectionSaver,
    owner: OwnerId,
    collector: Collector,
    target: Target,
) -> None:
    """The pool exists, but has no connection yet, when another replica saves the change."""
    saved = await saver.save(port=collector.port, password=None)
    row = await workbench._require_row(owner, saved)
    pool = workbench._pool(owner, row)
    await saver.change(saved, port=target.port, password=CANARY)
    attempts = await asyncio.gather(*(pool.acquire() for _ in range(4)), return_exceptions=True)
    assert [type(error) for error in attempts] == [Conflict] * 4
    assert collector.visits == 0
    async with workbench.lend(owner, saved) as connection:
        assert await one(connection, "SELECT 1") == 1


async def test_secret_does_not_open_if_row_has_other_destination(
    workbench: Workbench,
    saver: ConnectionSaver,
    owner: OwnerId,
    collector: Collector,
    database: Database,
) -> None:
    saved = await saver.save()
    await database.write(lambda session: session.rows(_TAMPER, id=saved, port=collector.port))
    for attempt in (
        workbench.connect(owner, saved),
        workbench.probe(owner, await parse_draft({}), connection_id=saved),
    ):
        with pytest.raises(Unavailable) as caught:
            await attempt
        assert "Enter the secret again" in caught.value.hint
    assert collector.visits == 0
    with pytest.raises(HowdahError):
        await workbench.connect(owner, saved, {"password": "typed"})
    await saver.change(saved, password="typed again")
    await workbench.probe(owner, await parse_draft({}), connection_id=saved)
    assert len(collector.passwords) == 2
