"""Ends what takes too long; it looks now and then, since timers for each would cost them all."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

LOOKS = 60
"""So many times while one may last; so late may one be ended."""


class Deadlines:
    """One for all that may last equally long; those who began first end first."""

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._ends_at: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looks = False

    async def within(self, work: Awaitable[T]) -> T:
        """What `work` answers; it has the running task to itself.

        Raises:
            TimeoutError: it was cancelled, because it lasted too long.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._ends_at[task] = self._loop.time() + self._lasts_s
        if not self._looks:
            self._look()
        try:
            return await work
        except asyncio.CancelledError:
            if self._ended_late(task):
                raise TimeoutError from None
            raise
        finally:
            self._ended_late(task)

    def _ended_late(self, task: asyncio.Task[Any]) -> bool:
        """Whether it was cancelled for that alone; the first who asks takes that back."""
        self._ends_at.pop(task, None)
        if task not in self._late:
            return False
        self._late.remove(task)
        return task.uncancel() == 0

    def _look(self) -> None:
        assert self._loop is not None  # noqa: S101 - something runs
        now = self._loop.time()
        for task, ends_at in self._ends_at.items():
            if ends_at > now:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        self._looks = bool(self._ends_at)
        if self._looks:
            self._loop.call_later(self._lasts_s / LOOKS, self._look)
