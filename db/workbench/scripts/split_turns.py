"""Limits how many scripts are split at once, in total and for each user."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from db.concurrency.fair_slots import FairSlots
from db.concurrency.waiting import ShieldedTasks
from db.kit.base import OwnerId

T = TypeVar("T")

MAX_SPLITS = 2
MAX_SPLITS_PER_USER = 1
MAX_WAITING_SPLITS = 50
"""Of one user."""


class SplitTurns:
    """Splits scripts in threads, one at a time for each user. The longest takes up to 1 s."""

    def __init__(self) -> None:
        self._slots = FairSlots(
            "scripts to split",
            total=MAX_SPLITS,
            of_one_user=lambda: MAX_SPLITS_PER_USER,
            max_waiting=MAX_WAITING_SPLITS,
        )
        self._splitting = ShieldedTasks()

    async def run(self, owner: OwnerId, split: Callable[[], T]) -> T:
        """Runs `split` in a thread. A caller that is cancelled does not free its slot early.

        Raises:
            RateLimited: Too many scripts of the user wait.
        """

        async def in_turn() -> T:
            async with self._slots.of(owner):
                return await asyncio.to_thread(split)

        return await self._splitting.run(in_turn(), name="scripts: splitting")
