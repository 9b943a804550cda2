"""Deadlines cancel expired work and nothing else."""

import asyncio

import pytest

from graph.context import UNLIMITED_SLOT, UnlimitedSlot
from graph.operations import deadlines as limits
from graph.operations.deadlines import Deadlines
from tests.fixtures.patience import PATIENCE_S, patience


async def test_deadline_does_not_affect_work_that_ends_in_time() -> None:
    deadlines = Deadlines(60)
    assert await deadlines.within(asyncio.sleep(0, "answer"), UNLIMITED_SLOT) == "answer"


async def test_deadline_cancels_in_order_of_start() -> None:
    deadlines = Deadlines(0.01)

    async def begin() -> None:
        with pytest.raises(TimeoutError):
            await deadlines.within(asyncio.Event().wait(), UNLIMITED_SLOT)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    for _ in range(2):
        await asyncio.gather(*(asyncio.create_task(begin()) for _ in range(3)))


async def test_deadline_does_not_hide_other_cancellation() -> None:
    deadlines = Deadlines(60)
    task = asyncio.create_task(deadlines.within(asyncio.Event().wait(), UNLIMITED_SLOT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_deadline_does_not_cancel_finished_work() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return "never"

    assert await Deadlines(0.01).within(stubborn(), UNLIMITED_SLOT) == "done all the same"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_slot_of_long_operation_ends_before_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SLOT_S", 0.01)
    ended = asyncio.Event()

    class EndingSlot(UnlimitedSlot):
        def end(self) -> None:
            ended.set()

    async with patience():
        await Deadlines(PATIENCE_S).within(ended.wait(), EndingSlot())
