"""Threads for parsing and decrypting the private keys that users pass."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from db.concurrency.waiting import wait_up_to
from db.errors import Overloaded

T = TypeVar("T")

THREADS = 2
WAIT_S = 20.0


class _Line:
    """The jobs of one user: one runs, the others wait."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(1)
        self.jobs = 0


class KeyThreads:
    """Runs jobs on few threads of its own, and at most one job of each user at a time.

    Decrypting a key is slow by design, and the file determines how slow. In asyncio's shared
    threads the keys of one user would delay the exports and the file access of all others.
    """

    def __init__(self, *, threads: int = THREADS, wait_s: float = WAIT_S) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="keys")
        self._wait_s = wait_s
        self._lines: dict[UUID | None, _Line] = {}

    async def run(self, owner: UUID | None, work: Callable[..., T], *arguments: Any) -> T:
        """Jobs without an owner count as those of one user.

        Raises:
            Overloaded: earlier jobs of the owner did not end in time.
        """
        line = self._lines.setdefault(owner, _Line())
        line.jobs += 1
        try:
            await self._wait_for_turn(line)
        except BaseException:
            self._leave(owner, line)
            raise
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        future.add_done_callback(lambda _: self._end(owner, line))
        # A cancelled caller cannot stop the thread, which keeps the turn until it ends.
        return await asyncio.shield(future)

    async def _wait_for_turn(self, line: _Line) -> None:
        if not await wait_up_to(self._wait_s, line.turn.acquire()):
            raise Overloaded(
                "Other private keys of yours are still being opened.",
                hint="Wait for those requests, then try again.",
                retry_after_s=5,
                cause="private_keys",
            )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _end(self, owner: UUID | None, line: _Line) -> None:
        line.turn.release()
        self._leave(owner, line)

    def _leave(self, owner: UUID | None, line: _Line) -> None:
        line.jobs -= 1
        if not line.jobs and self._lines.get(owner) is line:
            del self._lines[owner]


KEY_THREADS = KeyThreads()
"""One for each process: what it limits is the CPU of the process."""
