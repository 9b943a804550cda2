"""Slots: a flood of one viewer does not delay the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from db.errors import RateLimited
from graph.operations.slots import Slot, Slots


@contextlib.asynccontextmanager
async def slot_of(slots: Slots, viewer: str) -> AsyncIterator[Slot]:
    slot = slots.take(viewer) or await slots.wait(viewer)
    try:
        yield slot
    finally:
        slot.end()


class Work:
    """Operations that hold their slot until the test ends them."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._ends: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    def begin(self, viewer: str, name: str) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._run(viewer, name))

    def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()

    async def _run(self, viewer: str, name: str) -> None:
        async with slot_of(self._slots, viewer):
            self.begun.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_slots_queue_operations_of_one_viewer_only() -> None:
    work = Work(Slots(at_once=2))
    tasks = [work.begin("mine", name) for name in "abcd"] + [work.begin("yours", "x")]
    await settled()
    assert work.begun == ["a", "b", "x"]
    work.end("b")
    await settled()
    assert work.begun == ["a", "b", "x", "c"]
    work.end(*"acdx")
    await asyncio.gather(*tasks)
    assert work.begun == ["a", "b", "x", "c", "d"]


async def test_slots_limit_waiting_operations() -> None:
    slots = Slots(at_once=1, waiting=1)
    work = Work(slots)
    tasks = [work.begin("mine", name) for name in "ab"]
    await settled()
    with pytest.raises(RateLimited):
        async with slot_of(slots, "mine"):
            pass
    work.end(*"ab")
    await asyncio.gather(*tasks)


async def test_slot_can_be_released_early() -> None:
    slots = Slots(at_once=1)
    async with slot_of(slots, "mine") as slot:
        slot.end()
        async with slot_of(slots, "mine"):
            pass
        slot.end()  # once more changes nothing
    work = Work(slots)
    tasks = [work.begin("mine", name) for name in "ab"]
    await settled()
    assert work.begun == ["a"]
    work.end(*"ab")
    await asyncio.gather(*tasks)


async def test_slot_is_granted_after_the_delay() -> None:
    slots = Slots(at_once=1)
    slot = slots.take("mine")
    assert slot is not None
    waits = asyncio.ensure_future(slots.wait("mine"))
    await settled()
    slot.end_after(0.01)
    await settled()
    assert not waits.done()
    (await waits).end_after(60)  # no operation waits, so it ends at once
    async with slot_of(slots, "mine"):
        pass


async def test_slot_expires_when_operation_takes_too_long() -> None:
    slots = Slots(at_once=1, lasts_s=0)
    async with slot_of(slots, "mine"), slot_of(slots, "mine"), slot_of(slots, "mine"):
        pass


@pytest.mark.parametrize("early", [True, False], ids=["while waiting", "as it gets its slot"])
async def test_slot_is_not_lost_when_waiter_is_cancelled(*, early: bool) -> None:
    slots = Slots(at_once=1)
    work = Work(slots)
    async with slot_of(slots, "mine"):
        gone = work.begin("mine", "gone")
        await settled()
        if early:
            gone.cancel()
            await settled()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert work.begun == []
    async with slot_of(slots, "mine"):
        pass


async def test_slot_granted_during_cancellation_is_passed_on() -> None:
    slots = Slots(at_once=1)
    slot = slots.take("mine")
    assert slot is not None
    gone = asyncio.ensure_future(slots.wait("mine"))
    await asyncio.sleep(0)
    gone.cancel()
    slot.end()
    with pytest.raises(asyncio.CancelledError):
        await gone
    async with slot_of(slots, "mine"):
        pass
