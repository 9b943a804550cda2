"""Time limits of operations, checked periodically: a timer per operation costs more."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from graph.context import OperationSlot

T = TypeVar("T")

CHECKS_PER_TIMEOUT = 60
"""An operation is cancelled at most this fraction of the timeout too late."""
SLOT_S = 1.0
"""An operation that takes longer releases its slot, so that it delays no other of its user."""


class Deadlines:
    """Applies one timeout to any number of operations, which expire in the order of their start."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._running: dict[asyncio.Task[Any], tuple[float, OperationSlot]] = {}
        """When each began, and its slot."""
        self._expired: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False

    def task(self) -> asyncio.Task[Any]:
        """The running task. Without the loop, asyncio asks the kernel for the process (0.15 us)."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        return task

    async def within(self, work: Awaitable[T], slot: OperationSlot) -> T:
        """Await `work` in the running task, under the timeout.

        Raises:
            TimeoutError: the timeout expired, and `work` was cancelled.
        """
        task = self.task()
        assert self._loop is not None  # noqa: S101 - set by task
        self._running[task] = (self._loop.time(), slot)
        if not self._is_scheduled:
            self._check()
        try:
            return await work
        except asyncio.CancelledError:
            if self._remove(task):
                raise TimeoutError from None
            raise
        finally:
            self._remove(task)

    def _remove(self, task: asyncio.Task[Any]) -> bool:
        """Remove the task. Returns whether the timeout was the only reason for its cancellation."""
        self._running.pop(task, None)
        if task not in self._expired:
            return False
        self._expired.remove(task)
        return task.uncancel() == 0

    def _check(self) -> None:
        assert self._loop is not None  # noqa: S101 - set by within
        now = self._loop.time()
        for task, (began, slot) in self._running.items():
            age_s = now - began
            if age_s >= SLOT_S:
                slot.end()
            if age_s < min(SLOT_S, self._timeout_s):
                break
            if age_s >= self._timeout_s and task not in self._expired:
                self._expired.add(task)
                task.cancel()
        self._is_scheduled = bool(self._running)
        if self._is_scheduled:
            self._loop.call_later(self._timeout_s / CHECKS_PER_TIMEOUT, self._check)
