"""Slots that users share, decided by the order of calls: no clock, no sleep."""

import asyncio
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.concurrency.fair_slots import FairSlots
from db.errors import Overloaded, RateLimited
from tests.fixtures.patience import PATIENCE_S

Step = tuple[str, int, int]


async def settled() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


class Model:
    """Takes and releases slots, and compares what was granted with the promises."""

    def __init__(self, total: float, of_one_user: float) -> None:
        self.slots = FairSlots("jobs", total=total, of_one_user=lambda: of_one_user)
        self.total, self.of_one_user = total, of_one_user
        self.held: list[tuple[str, int]] = []
        self.waiting: dict[asyncio.Task[None], tuple[str, int]] = {}

    def count(self, user: str) -> int:
        return sum(weight for holder, weight in self.held if holder == user)

    async def acquire(self, user: str, weight: int) -> None:
        await self.slots.acquire(user, weight)
        own = [job for task, job in self.waiting.items() if not task.done() and job[0] == user]
        assert own[0] == (user, weight), "the order of arrival"
        if not math.isinf(self.total):
            others = {job[0] for task, job in self.waiting.items() if not task.done()}
            assert all(self.count(user) <= self.count(other) for other in others)
        self.held.append((user, weight))

    async def step(self, kind: str, number: int, weight: int) -> None:
        if kind == "acquire":
            job = f"user {number % 4}", weight
            self.waiting[asyncio.create_task(self.acquire(*job))] = job
        elif kind == "release" and self.held:
            self.slots.release(*self.held.pop(number % len(self.held)))
        elif self.waiting:
            list(self.waiting)[number % len(self.waiting)].cancel()
        await settled()
        self.waiting = {task: job for task, job in self.waiting.items() if not task.done()}
        self.check()

    def check(self) -> None:
        held = sum(weight for _, weight in self.held)
        assert self.slots.in_use == held
        heads: dict[str, int] = {}
        for user, weight in self.waiting.values():
            heads.setdefault(user, weight)
        if math.isinf(self.total):
            # Nobody waits for what they may have, and nobody who holds none waits.
            for user, weight in heads.items():
                assert self.count(user) + weight > self.of_one_user
                assert self.count(user)
        elif heads:
            assert held <= self.total
            fewest = min(map(self.count, heads))
            assert held >= (self.total - self.total // 4 if fewest else self.total) or (
                fewest >= self.of_one_user
            )

    async def drain(self) -> None:
        while self.held or self.waiting:
            assert self.held, "a user waits for ever"
            await self.step("release", 0, 1)
        assert not self.slots.in_use
        assert not self.slots.users
        assert not self.slots.users_waiting


def steps(heaviest: int) -> Any:
    kind = st.sampled_from(["acquire", "acquire", "release", "cancel"])
    return st.lists(st.tuples(kind, st.integers(0, 99), st.integers(1, heaviest)), max_size=40)


def run(steps: list[Step], total: float, of_one_user: float) -> None:
    async def play() -> None:
        model = Model(total, of_one_user)
        for step in steps:
            await model.step(*step)
        await model.drain()

    asyncio.run(play())


@settings(max_examples=150, deadline=None)
@given(steps(1), st.integers(1, 9), st.integers(1, 6))
def test_slots_are_fair_and_never_idle_while_a_user_waits(
    steps: list[Step], total: int, of_one_user: int
) -> None:
    run(steps, total, of_one_user)


@settings(max_examples=150, deadline=None)
@given(steps(9), st.integers(1, 6))
def test_weights_are_limited_for_each_user_by_itself(steps: list[Step], of_one_user: int) -> None:
    run(steps, math.inf, of_one_user)


async def test_single_user_gets_every_slot_that_is_not_reserved() -> None:
    slots = FairSlots("jobs", total=8)
    for _ in range(6):
        await asyncio.wait_for(slots.acquire("alone"), PATIENCE_S)
    waits = asyncio.create_task(slots.acquire("alone"))
    newcomers = [asyncio.create_task(slots.acquire(f"newcomer {n}")) for n in range(3)]
    await settled()
    assert [task.done() for task in newcomers] == [True, True, False]
    slots.release("alone")  # the first slot that becomes free goes to the newcomer
    await newcomers[2]
    assert not waits.done()
    waits.cancel()


async def test_released_slots_are_shared_until_the_users_hold_equally_many() -> None:
    slots, got = FairSlots("jobs", total=8), Counter[str]()

    async def take(user: str) -> None:
        await slots.acquire(user)
        got[user] += 1

    tasks = [asyncio.create_task(take("flood")) for _ in range(50)]
    await settled()
    assert got == {"flood": 6}
    tasks += [asyncio.create_task(take("late")) for _ in range(50)]
    await settled()
    for _ in range(4):
        slots.release("flood")
        await settled()
    assert (slots._held["flood"], slots._held["late"]) == (3, 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_full_queue_refuses_one_user_only() -> None:
    slots = FairSlots("jobs", of_one_user=lambda: 1, max_waiting=1)
    await slots.acquire("mine")
    waits = asyncio.create_task(slots.acquire("mine"))
    await settled()
    with pytest.raises(RateLimited, match="1 of your jobs are already queued"):
        await slots.acquire("mine")
    await slots.acquire("yours")
    slots.release("mine")
    await waits


async def test_wait_ends_with_overloaded_and_leaves_no_waiter() -> None:
    slots = FairSlots("jobs", total=1, wait_s=0)
    await slots.acquire("ada")
    with pytest.raises(Overloaded, match="Too many jobs"):
        await slots.acquire("bob")
    assert not slots.users_waiting
    slots.release("ada")
    await slots.acquire("bob")


async def test_slot_granted_to_cancelled_waiter_is_passed_on() -> None:
    slots = FairSlots("jobs", of_one_user=lambda: 1)
    await slots.acquire("mine")
    gone, next_one = (asyncio.create_task(slots.acquire("mine")) for _ in range(2))
    await settled()
    slots.release("mine")  # grants it at the same time
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await next_one
    assert slots.in_use == 1


async def test_overloaded_work_fails_what_waits_for_the_same_user() -> None:
    slots = FairSlots("jobs", of_one_user=lambda: 1)
    tries: list[str] = []

    async def work(user: str, error: Exception) -> None:
        async with slots.of(user):
            tries.append(user)
            await asyncio.sleep(0)
            raise error

    full = Overloaded("No connection became free.", hint="Later.", retry_after_s=1)
    jobs = [work("mine", full) for _ in range(5)] + [work("yours", ValueError()) for _ in range(3)]
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    assert ended[:5] == [full] * 5
    assert Counter(tries) == {"mine": 1, "yours": 3}
    with pytest.raises(Overloaded):
        await work("mine", full)
    assert not slots.in_use


async def test_overload_that_no_caller_sees_fails_nothing_else_and_is_not_counted() -> None:
    """It has no cause: the work is repeated elsewhere."""
    slots = FairSlots("jobs", of_one_user=lambda: 1)
    before = Overloaded.causes.copy()
    full = Overloaded("No connection became free.", hint="Later.", cause=None)

    async def work(error: Exception | None) -> None:
        async with slots.of("mine"):
            await asyncio.sleep(0)
            if error is not None:
                raise error

    ended = await asyncio.gather(work(full), work(None), return_exceptions=True)
    assert [*ended] == [full, None]
    assert Overloaded.causes == before
