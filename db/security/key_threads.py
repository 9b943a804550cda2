"""Threads for parsing and decrypting the private keys that users pass."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from db.concurrency.fair_slots import FairSlots

T = TypeVar("T")

THREADS = 2
WAIT_S = 20.0


class KeyThreads:
    """Runs jobs on few threads of its own, and at most one job of each user at a time.

    Decrypting a key is slow by design, and the file determines how slow. In asyncio's shared
    threads the keys of one user would delay the exports and the file access of all others.
    """

    def __init__(self, *, threads: int = THREADS, wait_s: float = WAIT_S) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="keys")
        self._slots = FairSlots("checks of private keys", of_one_user=lambda: 1, wait_s=wait_s)

    async def run(self, owner: UUID | None, work: Callable[..., T], *arguments: Any) -> T:
        """Jobs without an owner count as those of one user.

        Raises:
            Overloaded: earlier jobs of the owner did not end in time.
        """
        loop = asyncio.get_running_loop()
        return await self._slots.run(
            owner, lambda: loop.run_in_executor(self._threads, work, *arguments)
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


KEY_THREADS = KeyThreads()
"""One for each process: what it limits is the CPU of the process."""
