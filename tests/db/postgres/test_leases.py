import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest

from db.errors import HowdahError, Overloaded, Unavailable
from db.postgres.leases import Pool, PooledLease
from tests.fixtures.database import leased

SOON_MS = 10_000


class Wire:
    """As much of a connection as the pool touches."""

    def __init__(self) -> None:
        self.closed = False
        self.in_transaction = False
        self.holders = 0

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return self.in_transaction

    def terminate(self) -> None:
        self.closed = True

    async def close(self, **_: object) -> None:
        await asyncio.sleep(0)
        self.closed = True


class Wires:
    """Opens them, and knows how many are open."""

    def __init__(self) -> None:
        self.made: list[Wire] = []

    @property
    def open(self) -> int:
        return sum(not wire.closed for wire in self.made)

    async def connect(self, _deadline: float) -> Wire:
        await asyncio.sleep(0)
        self.made.append(Wire())
        return self.made[-1]


def make_pool(
    connect: Callable[[float], Awaitable[Wire]], *, size: int = 1, wait_ms: int = SOON_MS
) -> Pool:
    return Pool(connect, size=size, wait_ms=wait_ms)


async def all_waiting(pool: Pool, count: int) -> None:
    while pool.waiting < count:  # noqa: ASYNC110 - the pool has no event for it
        await asyncio.sleep(0)


async def test_who_waits_longest_is_next() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=3)
    held = [await pool.acquire() for _ in range(3)]
    served: list[int] = []

    async def customer(number: int) -> None:
        async with leased(pool):
            served.append(number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(customer(number))
        await all_waiting(pool, 200)
        for lease in held:
            await pool.release(lease)
        group.create_task(customer(200))  # comes last, and does not overtake
    assert served == list(range(201))
    assert wires.open == 3


async def test_waiting_too_long_is_told_with_when_to_come_back() -> None:
    pool = make_pool(Wires().connect, wait_ms=20)
    lease = await pool.acquire()
    with pytest.raises(Overloaded, match="within 20 ms") as refused:
        await pool.acquire()
    assert refused.value.retry_after_s == 1
    assert pool.waiting == 0
    await pool.release(lease)
    assert await pool.acquire() is lease


async def test_a_place_whose_connection_failed_goes_to_the_next() -> None:
    attempts = 0
    gate = asyncio.Event()

    async def connect(_deadline: float) -> Wire:
        nonlocal attempts
        attempts += 1
        await gate.wait()
        if attempts < 3:
            raise Unavailable("not yet", hint="wait")
        return Wire()

    pool = make_pool(connect)
    callers = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await all_waiting(pool, 2)
    gate.set()
    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(end) for end in ends].count(PooledLease) == 1
    assert pool.in_use == 1


async def test_time_spent_waiting_is_not_given_again_for_connecting() -> None:
    deadlines: list[float] = []

    async def connect(deadline: float) -> Wire:
        deadlines.append(deadline)
        return Wire()

    pool = make_pool(connect)
    lease = await pool.acquire()
    waiter = asyncio.create_task(pool.acquire())
    await all_waiting(pool, 1)
    asked_at = asyncio.get_running_loop().time()
    lease.driver.terminate()
    await pool.release(lease)
    await waiter
    assert deadlines[1] <= asked_at + SOON_MS / 1000


async def test_a_connection_that_closed_while_idle_is_not_lent() -> None:
    wires = Wires()
    pool = make_pool(wires.connect)
    async with leased(pool) as lease:
        first = lease.driver
    first.closed = True
    async with leased(pool) as lease:
        assert lease.driver is not first
    assert (pool.in_use, wires.open) == (0, 1)


@pytest.mark.parametrize("state", ["closed", "in_transaction", "unsettled"])
async def test_a_connection_in_doubt_is_not_lent_again(state: str) -> None:
    wires = Wires()
    pool = make_pool(wires.connect)
    lease = await pool.acquire()
    if state == "unsettled":
        lease.settled = False
    else:
        setattr(lease.driver, state, True)
    await pool.release(lease)
    assert (pool.in_use, wires.open) == (0, 0)
    assert (await pool.acquire()).driver is wires.made[1]


async def test_a_broken_one_takes_the_idle_ones_with_it_and_frees_its_place() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=3)
    one, two, three = [await pool.acquire() for _ in range(3)]
    await pool.release(one)
    await pool.release(two, broken=True)
    assert (pool.in_use, wires.open) == (1, 1)
    assert not three.driver.closed
    again = [await pool.acquire() for _ in range(2)]
    assert (len(again), wires.open) == (2, 3)


async def test_closing_tells_who_waits_and_ends_what_comes_back() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=2)
    held, idle = await pool.acquire(), await pool.acquire()
    handed = asyncio.create_task(pool.acquire())
    waiting = asyncio.create_task(pool.acquire())
    await all_waiting(pool, 2)
    await pool.release(idle)  # to `handed`, which leaves before it can take it
    await pool.close()
    handed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handed
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    with pytest.raises(Unavailable, match="stopping"):
        await pool.acquire()
    await pool.release(held)
    assert (pool.in_use, wires.open) == (0, 0)


async def test_a_connection_that_will_not_close_is_ended() -> None:
    class Stubborn(Wire):
        async def close(self, **_: object) -> None:
            self.terminate()  # what asyncpg does first
            raise TimeoutError

    wire = Stubborn()
    pool = Pool(Wires().connect, size=1, wait_ms=SOON_MS, first=wire)
    await pool.close()
    assert wire.closed


@pytest.mark.parametrize("seed", range(40))
async def test_no_order_of_events_loses_a_connection_or_lends_one_twice(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a schedule that can be had again
    size = chance.randint(1, 4)
    wires = Wires()

    async def pause() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def connect(deadline: float) -> Wire:
        await pause()
        if chance.random() < 0.2:
            raise Unavailable("refused", hint="try again")
        wire = await wires.connect(deadline)
        assert wires.open <= size
        return wire

    async def customer() -> None:
        with contextlib.suppress(HowdahError):
            await pause()
            lease = await pool.acquire()
            wire: Wire = lease.driver
            wire.holders += 1
            assert wire.holders == 1
            try:
                await pause()
                wire.closed |= chance.random() < 0.1
                wire.in_transaction = chance.random() < 0.1
            finally:
                wire.holders -= 1
                await pool.release(lease, broken=chance.random() < 0.1)

    pool = Pool(connect, size=size, wait_ms=chance.choice([0, 1, SOON_MS]))
    customers = [asyncio.create_task(customer()) for _ in range(60)]
    for _ in range(60):
        await pause()
        chance.choice(customers).cancel()
    ends = await asyncio.gather(*customers, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert (pool.in_use, pool.waiting) == (0, 0)
    await pool.close()
    assert wires.open == 0
