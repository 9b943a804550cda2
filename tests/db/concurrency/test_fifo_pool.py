import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from db.concurrency.fifo_pool import FifoPool
from db.errors import HowdahError, Overloaded, Unavailable
from tests.fixtures.patience import PATIENCE_S

SOON_S = PATIENCE_S


class Wire:
    """A resource without a server."""

    def __init__(self) -> None:
        self.closed = False
        self.usable = True
        self.holders = 0
        self.ended = 0

    def is_usable(self) -> bool:
        return self.usable and not self.closed

    def terminate(self) -> None:
        self.closed = True
        self.ended += 1

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.terminate()


class Wires:
    """Opens wires and counts the open ones."""

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
    connect: Callable[[float], Awaitable[Wire]], *, size: int = 1, wait_s: float = SOON_S
) -> FifoPool[Wire]:
    return FifoPool(
        connect,
        size=size,
        wait_s=wait_s,
        overloaded=lambda: Overloaded("full", hint="wait"),
        closed=lambda: Unavailable("closed", hint="leave"),
    )


@contextlib.asynccontextmanager
async def lent(pool: FifoPool[Wire]) -> AsyncIterator[Wire]:
    wire = await pool.acquire()
    try:
        yield wire
    finally:
        pool.release(wire)


async def all_waiting(pool: FifoPool[Wire], count: int) -> None:
    while pool.waiting < count:  # noqa: ASYNC110 - the pool has no event for it
        await asyncio.sleep(0)


async def test_pool_serves_waiters_in_the_order_of_their_requests() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=3)
    held = [await pool.acquire() for _ in range(3)]
    served: list[int] = []

    async def borrow(number: int) -> None:
        async with lent(pool):
            served.append(number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(borrow(number))
        await all_waiting(pool, 200)
        for wire in held:
            pool.release(wire)
        group.create_task(borrow(200))  # the last one does not overtake
    assert served == list(range(201))
    assert wires.open == 3


async def test_pool_fails_a_waiter_at_its_deadline() -> None:
    pool = make_pool(Wires().connect, wait_s=0.2)
    wire = await pool.acquire()
    with pytest.raises(Overloaded, match="full"):
        await pool.acquire()
    assert pool.waiting == 0
    pool.release(wire)
    assert await pool.acquire() is wire


async def test_pool_counts_waits_for_what_was_not_idle() -> None:
    pool = make_pool(Wires().connect, wait_s=0.2)
    wire = await pool.acquire()  # opened: a wait too
    with pytest.raises(Overloaded, match="full"):
        await pool.acquire()
    pool.release(wire)
    assert await pool.acquire() is wire
    assert sum(pool.waits.counts) == 2
    assert pool.waits.sum >= 0.2


async def test_permit_of_a_failed_attempt_goes_to_the_next_waiter() -> None:
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
    assert [type(end) for end in ends].count(Wire) == 1
    assert (pool.in_use, pool.opened) == (1, 1)


async def test_time_spent_waiting_is_not_granted_again_for_connecting() -> None:
    deadlines: list[float] = []

    async def connect(deadline: float) -> Wire:
        deadlines.append(deadline)
        return Wire()

    pool = make_pool(connect)
    wire = await pool.acquire()
    waiter = asyncio.create_task(pool.acquire())
    await all_waiting(pool, 1)
    asked_at = asyncio.get_running_loop().time()
    wire.usable = False
    pool.release(wire)
    await waiter
    assert deadlines[1] <= asked_at + SOON_S


async def test_resource_that_broke_while_idle_is_not_lent() -> None:
    wires = Wires()
    pool = make_pool(wires.connect)
    async with lent(pool) as first:
        pass
    first.usable = False
    async with lent(pool) as second:
        assert second is not first
    assert (pool.in_use, pool.opened, wires.open) == (0, 1, 1)


async def test_unusable_resource_is_ended_on_release() -> None:
    wires = Wires()
    pool = make_pool(wires.connect)
    wire = await pool.acquire()
    wire.usable = False
    pool.release(wire)
    assert (pool.in_use, pool.opened, wires.open) == (0, 0, 0)
    assert await pool.acquire() is wires.made[1]


async def test_broken_release_ends_idle_resources_and_frees_their_places() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=3)
    one, two, three = [await pool.acquire() for _ in range(3)]
    pool.release(one)
    pool.release(two, broken=True)
    assert (pool.in_use, wires.open) == (1, 1)
    assert not three.closed
    again = [await pool.acquire() for _ in range(2)]
    assert (len(again), wires.open) == (2, 3)


async def test_drop_idle_ends_only_what_is_due() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=3)
    held = [await pool.acquire() for _ in range(3)]
    for wire in held[:2]:
        pool.release(wire)
    pool.drop_idle(lambda wire: wire is held[0])
    assert [wire.closed for wire in held] == [True, False, False]
    assert (pool.opened, pool.idle, pool.in_use) == (2, 1, 1)


async def test_close_fails_waiters_and_ends_what_is_released_later() -> None:
    wires = Wires()
    pool = make_pool(wires.connect, size=2)
    held, idle = await pool.acquire(), await pool.acquire()
    granted = asyncio.create_task(pool.acquire())
    waiting = asyncio.create_task(pool.acquire())
    await all_waiting(pool, 2)
    pool.release(idle)  # to `granted`, which is cancelled before it can take it
    await pool.close()
    granted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await granted
    with pytest.raises(Unavailable, match="closed"):
        await waiting
    with pytest.raises(Unavailable, match="closed"):
        await pool.acquire()
    pool.release(held)
    assert (pool.in_use, pool.opened, wires.open) == (0, 0, 0)


async def test_close_ends_attempts_to_open_and_unused_permits() -> None:
    begun = asyncio.Event()

    async def connect(_deadline: float) -> Wire:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    pool = make_pool(connect)
    opening = asyncio.create_task(pool.acquire())
    waiting = asyncio.create_task(pool.acquire())
    await begun.wait()
    await all_waiting(pool, 1)
    opening.cancel()  # its permit goes to `waiting`, which has not used it when the pool closes
    with pytest.raises(asyncio.CancelledError):
        await opening
    begun.clear()
    await pool.close()
    with pytest.raises(Unavailable, match="closed"):
        await waiting
    assert pool.in_use == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_close_and_cancel_of_an_attempt_leave_no_permit(*, cancelled: bool) -> None:
    begun = asyncio.Event()

    async def connect(_deadline: float) -> Wire:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    pool = make_pool(connect)
    opening = asyncio.create_task(pool.acquire())
    await begun.wait()
    await pool.close()
    if cancelled:
        opening.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else Unavailable):
        await opening
    assert pool.in_use == 0


@pytest.mark.parametrize("seed", range(60))
async def test_pool_loses_no_resource_and_lends_none_twice_in_any_order(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a schedule that can be repeated
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

    async def borrow() -> None:
        with contextlib.suppress(HowdahError):
            await pause()
            wire = await pool.acquire()
            wire.holders += 1
            assert wire.holders == 1
            try:
                await pause()
                wire.usable = chance.random() > 0.2
            finally:
                wire.holders -= 1
                pool.release(wire, broken=chance.random() < 0.1)

    pool = make_pool(connect, size=size, wait_s=chance.choice([0, 0.001, SOON_S]))
    borrowers = [asyncio.create_task(borrow()) for _ in range(60)]
    closes_after = chance.choice([20, 60])  # with borrowers, or after the last of them
    for step in range(60):
        await pause()
        chance.choice(borrowers).cancel()
        if chance.random() < 0.1:
            pool.drop_idle(lambda _: chance.random() < 0.5)
        if step == closes_after:
            await pool.close()
    ends = await asyncio.gather(*borrowers, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert (pool.in_use, pool.waiting) == (0, 0)
    await pool.close()
    assert (pool.opened, wires.open) == (0, 0)
    assert all(wire.ended == 1 for wire in wires.made)
