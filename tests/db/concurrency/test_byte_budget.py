"""A budget of bytes refuses what begins after it is used up."""

import asyncio

import pytest

from db.concurrency.byte_budget import ByteBudget


class Exceeded(Exception):
    """Tells the budget."""


class Holder:
    """Has room for so many bytes."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room

    def require_room(self) -> None:
        if self.room <= 0:
            raise MemoryError

    def hold(self, size: int) -> None:
        self.room -= size


async def test_reads_are_refused_once_the_budget_is_used_up() -> None:
    budget = ByteBudget(5, at_once=2, exceeded=Exceeded, holder=Holder())
    started, open_gate = 0, asyncio.Event()

    async def read() -> bytes:
        nonlocal started
        started += 1
        await open_gate.wait()
        return b"1234"

    reads = [asyncio.create_task(budget.spend(read, len)) for _ in range(5)]
    await asyncio.sleep(0)
    assert started == 2
    open_gate.set()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    assert answers[:2] == [b"1234", b"1234"]
    assert [error.args for error in answers[-2:] if isinstance(error, Exceeded)] == [(5,), (5,)]
    assert started <= 3


async def test_failed_and_cancelled_reads_make_room_and_cost_nothing() -> None:
    budget = ByteBudget(1, at_once=1, exceeded=Exceeded, holder=Holder())

    async def fail() -> bytes:
        raise LookupError

    async def empty() -> bytes:
        return b""

    with pytest.raises(LookupError):
        await budget.spend(fail, len)
    stuck = asyncio.create_task(budget.spend(asyncio.Event().wait, lambda _: 1))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(budget.spend(empty, len))
    await asyncio.sleep(0)
    stuck.cancel()
    assert await waiting == b""


async def test_read_does_not_begin_while_its_holder_has_no_room() -> None:
    holder, started = Holder(room=5), 0
    budget = ByteBudget(100, at_once=2, exceeded=Exceeded, holder=holder)

    async def read() -> bytes:
        nonlocal started
        started += 1
        return b"12345"

    assert await budget.spend(read, len) == b"12345"
    with pytest.raises(MemoryError):
        await budget.spend(read, len)
    assert started == 1
    holder.room = 5
    assert await budget.spend(read, len) == b"12345"
