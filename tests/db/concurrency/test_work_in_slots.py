"""Work in a slot of its user: `FairSlots.run`."""

import asyncio
import threading

import pytest

from db.concurrency.fair_slots import FairSlots


async def test_work_of_a_user_in_threads_keeps_its_slot_also_after_its_caller_left() -> None:
    slots = FairSlots("jobs", total=2, of_one_user=lambda: 1)
    began, may_end, working = asyncio.Event(), threading.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def work(name: str) -> str:
        working.append(name)
        loop.call_soon_threadsafe(began.set)
        may_end.wait()
        return name

    def start(user: str, name: str) -> asyncio.Task[str]:
        return asyncio.create_task(slots.run(user, lambda: asyncio.to_thread(work, name)))

    left = start("ada", "ada's first")
    await began.wait()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    second, third = start("ada", "ada's second"), start("ada", "ada's third")
    began.clear()
    others = start("bob", "bob's")
    await began.wait()
    assert working == ["ada's first", "bob's"]
    second.cancel()  # before its turn: it never begins
    may_end.set()
    assert [await third, await others] == ["ada's third", "bob's"]
    assert "ada's second" not in working
    assert not slots.in_use


async def test_cancelled_work_frees_its_slot() -> None:
    slots = FairSlots("jobs", total=1)
    work = asyncio.create_task(slots.run("ada", lambda: asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    slots.cancel_work()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not slots.in_use


async def test_work_that_cannot_begin_frees_its_slot() -> None:
    """As a pool of threads that cannot start one."""
    slots = FairSlots("jobs", of_one_user=lambda: 1)

    def fail() -> asyncio.Future[None]:
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="thread"):
        await slots.run("ada", fail)
    assert not slots.in_use
