"""Turns: who floods waits for themselves, not others for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from db.errors import RateLimited
from graph.operations.slots import Turn, Turns


@contextlib.asynccontextmanager
async def turn_of(turns: Turns, viewer: str) -> AsyncIterator[Turn]:
    turn = turns.take(viewer) or await turns.wait(viewer)
    try:
        yield turn
    finally:
        turn.end()


class Work:
    """Operations that hold their turn until they are told to end."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._ends: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    def begin(self, viewer: str, name: str) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._run(viewer, name))

    def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()

    async def _run(self, viewer: str, name: str) -> None:
        async with turn_of(self._turns, viewer):
            self.begun.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_viewers_next_operation_waits_and_anothers_does_not() -> None:
    work = Work(Turns(at_once=2))
    tasks = [work.begin("mine", name) for name in "abcd"] + [work.begin("yours", "x")]
    await settled()
    assert work.begun == ["a", "b", "x"]
    work.end("b")
    await settled()
    assert work.begun == ["a", "b", "x", "c"]
    work.end(*"acdx")
    await asyncio.gather(*tasks)
    assert work.begun == ["a", "b", "x", "c", "d"]


async def test_who_waits_with_too_many_is_told() -> None:
    turns = Turns(at_once=1, waiting=1)
    work = Work(turns)
    tasks = [work.begin("mine", name) for name in "ab"]
    await settled()
    with pytest.raises(RateLimited):
        async with turn_of(turns, "mine"):
            pass
    work.end(*"ab")
    await asyncio.gather(*tasks)


async def test_an_operation_that_only_waits_can_end_its_turn() -> None:
    turns = Turns(at_once=1)
    async with turn_of(turns, "mine") as turn:
        turn.end()
        async with turn_of(turns, "mine"):
            pass
        turn.end()  # once more changes nothing
    work = Work(turns)
    tasks = [work.begin("mine", name) for name in "ab"]
    await settled()
    assert work.begun == ["a"]
    work.end(*"ab")
    await asyncio.gather(*tasks)


async def test_after_a_rest_the_next_may_begin() -> None:
    turns = Turns(at_once=1)
    turn = turns.take("mine")
    assert turn is not None
    waits = asyncio.ensure_future(turns.wait("mine"))
    await settled()
    turn.rest(0.01)
    await settled()
    assert not waits.done()
    (await waits).rest(60)  # nobody waits: it is over
    async with turn_of(turns, "mine"):
        pass


async def test_a_turn_that_lasts_too_long_ends() -> None:
    turns = Turns(at_once=1, lasts_s=0)
    async with turn_of(turns, "mine"), turn_of(turns, "mine"), turn_of(turns, "mine"):
        pass


@pytest.mark.parametrize("early", [True, False], ids=["while waiting", "as it gets its turn"])
async def test_a_cancelled_operation_takes_no_turn_along(*, early: bool) -> None:
    turns = Turns(at_once=1)
    work = Work(turns)
    async with turn_of(turns, "mine"):
        gone = work.begin("mine", "gone")
        await settled()
        if early:
            gone.cancel()
            await settled()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert work.begun == []
    async with turn_of(turns, "mine"):
        pass


async def test_a_cancellation_and_a_turn_that_ends_in_the_same_moment() -> None:
    turns = Turns(at_once=1)
    turn = turns.take("mine")
    assert turn is not None
    gone = asyncio.ensure_future(turns.wait("mine"))
    await asyncio.sleep(0)
    gone.cancel()
    turn.end()
    with pytest.raises(asyncio.CancelledError):
        await gone
    async with turn_of(turns, "mine"):
        pass
