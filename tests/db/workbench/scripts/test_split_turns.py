"""Turns at splitting scripts."""

import asyncio
import threading

import pytest

from db.kit.base import OwnerId, new_id
from db.workbench.scripts.split_turns import SplitTurns


async def test_user_splits_one_script_at_a_time_also_after_leaving() -> None:
    turns, ada, bob = SplitTurns(), OwnerId(new_id()), OwnerId(new_id())
    began, may_end, splitting = asyncio.Event(), threading.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def split(name: str) -> str:
        splitting.append(name)
        loop.call_soon_threadsafe(began.set)
        may_end.wait()
        return name

    left = asyncio.create_task(turns.run(ada, lambda: split("ada's first")))
    await began.wait()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    second = asyncio.create_task(turns.run(ada, lambda: split("ada's second")))
    began.clear()
    others = asyncio.create_task(turns.run(bob, lambda: split("bob's")))
    await began.wait()
    assert splitting == ["ada's first", "bob's"]
    may_end.set()
    assert [await second, await others] == ["ada's second", "bob's"]
