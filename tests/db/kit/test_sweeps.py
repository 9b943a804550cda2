"""Sweeps in the background."""

import asyncio
import time

import pytest

from db.errors import NotFound, Unavailable
from db.kit.sweeps import SweepFigures, remove_each, sweep_in_background
from tests.fixtures.patience import patience


async def always() -> bool:
    return True


async def test_sweep_failure_does_not_stop_other_sweeps() -> None:
    turns: list[str] = []
    twice = asyncio.Event()

    async def broken() -> int:
        turns.append("broken")
        raise OSError("the store is away")

    async def whole() -> int:
        turns.append("whole")
        if turns.count("whole") == 2:
            twice.set()
        return 0

    async with (
        patience(),
        sweep_in_background({"broken": broken, "whole": whole}, is_in_charge=always, every_s=0.001),
    ):
        await twice.wait()
    assert turns[:4] == ["broken", "whole", "broken", "whole"]


async def test_one_process_sweeps_until_it_dies() -> None:
    """Some sweeps read all runs: replicas must not repeat that for each other."""
    sweepers: list[str] = []
    asked = asyncio.Event()
    turns = iter([False, False, True])
    figures = SweepFigures()

    async def is_in_charge() -> bool:
        return next(turns, True)

    async def sweep() -> int:
        sweepers.append("this")
        asked.set()
        return 0

    background = sweep_in_background(
        {"runs": sweep}, figures, is_in_charge=is_in_charge, every_s=0.001
    )
    async with patience(), background:
        await asked.wait()
    assert next(turns, None) is None  # the first two times another process was in charge
    assert figures.failures == {"runs": 0}


async def test_sweeps_count_what_they_remove_and_their_failures() -> None:
    figures = SweepFigures()
    ended = asyncio.Event()
    batches = iter([3, 2, 0])
    began = time.time()

    async def broken() -> int:
        ended.set()
        raise OSError("the store is away")

    async def whole() -> int:
        return next(batches, 0)

    async with (
        patience(),
        sweep_in_background(
            {"whole": whole, "broken": broken}, figures, is_in_charge=always, every_s=0.001
        ),
    ):
        started_at = dict(figures.succeeded_at)
        await ended.wait()
    assert (figures.removed["whole"], figures.removed["broken"]) == (5, 0)
    assert figures.failures["broken"] >= 1
    assert figures.failures["whole"] == 0
    assert figures.succeeded_at["whole"] > started_at["whole"] >= began
    assert figures.succeeded_at["broken"] == started_at["broken"]


async def test_remove_each_counts_only_what_it_has_removed() -> None:
    """What is found again and again would else be a sweep without an end."""
    done: list[str] = []

    async def remove() -> None:
        done.append("removed")

    async def miss() -> None:
        raise NotFound("It is gone.", hint="None.")

    async def fail() -> None:
        raise Unavailable("It cannot be read.", hint="None.")

    assert await remove_each({"a": miss, "b": fail, "c": remove}) == 1
    assert done == ["removed"]
    assert await remove_each({"a": miss}) == 0
    with pytest.raises(Unavailable):
        await remove_each({"a": miss, "b": fail})
