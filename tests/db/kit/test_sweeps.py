"""Sweeps in the background."""

import asyncio

from db.kit.sweeps import sweep_in_background
from tests.fixtures.patience import patience


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
        sweep_in_background({"broken": broken, "whole": whole}, every_s=0.001),
    ):
        await twice.wait()
    assert turns[:4] == ["broken", "whole", "broken", "whole"]
