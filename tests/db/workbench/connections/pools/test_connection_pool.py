"""A pool of connections to a real server."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from db.errors import BadInput, HowdahError, Overloaded
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench import Limits, Reach, Targets, Workbench
from db.workbench.connections import libpq
from db.workbench.connections.pools import connection_pool
from db.workbench.connections.pools.connection_pool import ConnectionPool
from tests.fixtures.patience import patience
from tests.fixtures.targets import Target, silent, speaking
from tests.fixtures.workbench import ConnectionSaver, one, until, until_guests, until_no_guests

MakePool: TypeAlias = Callable[..., Awaitable[ConnectionPool]]


@pytest.fixture
def make_pool(workbench: Workbench, saver: ConnectionSaver, owner: OwnerId) -> MakePool:
    async def make(**given: Any) -> ConnectionPool:
        row = await workbench._require_row(owner, await saver.save(**given))
        return workbench._pool(owner, row)

    return make


@pytest.fixture
async def small(database: Database, vault: Vault) -> AsyncIterator[Workbench]:
    """Closes idle connections soon, and opens two at most."""
    limits = Limits(pool_size=4, connections=2, idle_s=0.05)
    targets = Targets(Reach(private=True))
    async with Workbench.opened(database, vault, targets, limits) as opened:
        yield opened


class Attempts:
    """Counts the attempts to connect; `meet` lets them wait for each other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.meet: asyncio.Barrier | None = None
        connect = libpq.connect

        async def counted(*args: Any, **kwargs: Any) -> libpq.Connection:
            self.count += 1
            if self.meet is not None:
                await self.meet.wait()
            return await connect(*args, **kwargs)

        monkeypatch.setattr(libpq, "connect", counted)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    return Attempts(monkeypatch)


async def test_pool_sends_a_wrong_password_once_for_all_callers(
    make_pool: MakePool, attempts: Attempts
) -> None:
    pool = await make_pool(password="wrong", ssl_mode="DISABLE")
    ends = await asyncio.gather(*(pool.acquire() for _ in range(10)), return_exceptions=True)
    assert [type(end) for end in ends] == [BadInput] * 10
    assert attempts.count == 1
    with pytest.raises(BadInput):  # a later caller tries again
        await pool.acquire()
    assert attempts.count == 2
    assert not pool.in_use


async def test_pool_opens_connections_side_by_side_once_one_was_opened(
    make_pool: MakePool, attempts: Attempts
) -> None:
    pool = await make_pool()
    first = await pool.acquire()
    attempts.meet = asyncio.Barrier(3)
    async with patience():
        others = await asyncio.gather(*(pool.acquire() for _ in range(3)))
    assert pool.figures == (4, 0, 4)
    for connection in (first, *others):
        await pool.release(connection)
    assert pool.figures == (4, 4, 0)


async def test_reservation_waits_for_a_connection_that_is_being_reset(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow_reset(_: libpq.Connection) -> None:
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(connection_pool, "reset", slow_reset)
    pool = await make_pool()
    connection = await pool.acquire()
    assert await pool.reserve(generation=()) is None  # of one that is in use, at once
    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.release(connection))
        await begun.wait()
        reservation = tasks.create_task(pool.reserve(generation=()))
        await asyncio.sleep(0)
        assert not reservation.done()
        go_on.set()
    reserved = reservation.result()
    assert reserved is not None
    assert reserved.connection is connection
    reserved.release()
    assert pool.figures == (1, 1, 0)


async def test_reservation_does_not_wait_long_for_a_reset(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def stalled_reset(_: libpq.Connection) -> None:
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(connection_pool, "reset", stalled_reset)
    monkeypatch.setattr(connection_pool, "RETURN_S", 0)
    pool = await make_pool()
    connection = await pool.acquire()
    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.release(connection))
        await begun.wait()
        assert await pool.reserve(generation=()) is None
        go_on.set()


async def test_limit_of_all_pools_admits_as_many_callers_as_it_allows(
    small: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    row = await small._require_row(owner, await saver.save())
    pool = small._pool(owner, row)
    ends = await asyncio.gather(*(pool.acquire() for _ in range(4)), return_exceptions=True)
    lent = [end for end in ends if not isinstance(end, BaseException)]
    assert len(lent) == await target.guests() == 2
    assert sum(isinstance(end, Overloaded) for end in ends) == 2
    for connection in lent:
        await pool.release(connection)


async def test_idle_connection_is_closed_while_another_is_in_use(
    small: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    saved = await saver.save()
    async with small.lend(owner, saved) as held:
        async with small.lend(owner, saved):
            assert await target.guests() == 2

        async def one_guest() -> bool:
            return await target.guests() == 1

        await until(one_guest)
        assert await one(held, "SELECT 1") == 1


async def test_connection_is_replaced_at_the_end_of_its_lifetime(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = await saver.save()
    async with workbench.lend(owner, saved) as connection:
        young = connection.info.backend_pid
    monkeypatch.setattr("db.workbench.connections.pools.connection_pool.LIFETIME_S", 0)
    async with workbench.lend(owner, saved) as connection:
        assert connection.info.backend_pid == young
        async with workbench.lend(owner, saved) as other:
            old = other.info.backend_pid
    async with (
        workbench.lend(owner, saved) as connection,
        workbench.lend(owner, saved) as other,
    ):
        assert young == connection.info.backend_pid
        assert old != other.info.backend_pid


@pytest.mark.parametrize("lend", [ConnectionPool.dedicated, ConnectionPool.monitor])
async def test_connection_that_opens_after_the_pool_was_closed_is_ended(
    make_pool: MakePool,
    attempts: Attempts,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    lend: Callable[[ConnectionPool], AbstractAsyncContextManager[libpq.Connection]],
) -> None:
    monkeypatch.setattr("db.workbench.connections.pools.connection_pool.CANCEL_S", 0)
    pool = await make_pool()
    attempts.meet = meet = asyncio.Barrier(2)

    async def hold() -> None:
        async with lend(pool):
            pytest.fail("it was lent")

    async def is_connecting() -> bool:
        return meet.n_waiting == 1

    opening = asyncio.create_task(hold())
    await until(is_connecting)
    await pool.close()
    await meet.wait()
    with pytest.raises(HowdahError, match="was closed"):
        await opening
    await until_no_guests(target)


@pytest.mark.parametrize("answer", [b"", b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"])
async def test_cancelled_attempt_leaves_its_place_to_the_next_caller(
    make_pool: MakePool, answer: bytes
) -> None:
    """Also after authentication, while the server does not answer a query."""
    waits: asyncio.Queue[None] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        if answer:
            writer.write(answer)
            await reader.read(1024)
        waits.put_nowait(None)
        await silent(reader, writer)

    async with speaking(talk) as port, patience():
        pool = await make_pool(port=port, ssl_mode="DISABLE")
        callers = [asyncio.create_task(pool.acquire()) for _ in range(6)]
        for caller in callers:
            await waits.get()
            assert (pool.open_count, pool.in_use) == (1, True)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
    assert (pool.open_count, pool.in_use, pool.figures) == (0, False, (0, 0, 0))


async def test_connection_of_cancelled_borrower_is_released(
    workbench: Workbench, saver: ConnectionSaver, owner: OwnerId, target: Target
) -> None:
    chance = random.Random(11)  # noqa: S311 - a schedule that can be repeated
    saved = await saver.save(ssl_mode="DISABLE")
    row = await workbench._require_row(owner, saved)
    pool = workbench._pool(owner, row)

    async def borrow(number: int) -> None:
        connection = await pool.acquire()
        try:
            await connection.execute("SELECT set_config('my.number', %s, false)", [str(number)])
            await connection.execute("SELECT pg_sleep(0.002)")
            assert await one(connection, "SELECT current_setting('my.number')") == str(number)
        finally:
            await pool.release(connection)

    async def cancel(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(chance.random() * 0.3)
        task.cancel()

    staying = [asyncio.create_task(borrow(number)) for number in range(60)]
    leaving = [asyncio.create_task(borrow(number)) for number in range(60)]
    await asyncio.gather(*map(cancel, leaving))
    ends = await asyncio.gather(*leaving, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert any(isinstance(end, asyncio.CancelledError) for end in ends)
    await asyncio.gather(*staying)
    assert not pool.in_use
    assert pool.figures[2] == 0
    assert pool.open_count <= 4
    await until_guests(target, pool.open_count)  # a connection that was cut may live on shortly
    await workbench.disconnect(owner, saved)
    await until_no_guests(target)
    with pytest.raises(HowdahError, match="was closed"):
        await pool.acquire()
