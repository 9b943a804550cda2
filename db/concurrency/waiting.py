"""Retries with backoff, timeouts that are no errors, and tasks that outlive their caller."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Iterator,
)
from contextvars import Context
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from db.errors import HowdahError

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Errors: TypeAlias = tuple[type[Exception], ...]
log = logging.getLogger(__name__)


class Backoff(NamedTuple):
    """Pauses between attempts: random, up to a limit that doubles from `first_s` to `longest_s`.

    The jitter is full (from 0 to the limit), so that processes which failed together do not
    repeat their attempts together.
    """

    first_s: float
    longest_s: float
    uniform: Callable[[float, float], float] = random.uniform
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def pauses(self) -> Iterator[float]:
        """Yields the pauses after one failure, two failures in a row, and so on, in seconds."""
        limit_s = self.first_s
        while True:
            yield self.uniform(0, limit_s)
            limit_s = min(2 * limit_s, self.longest_s)


async def retry(
    attempt: Callable[[], Awaitable[T]],
    *,
    on: Errors,
    unless: Errors = (),
    backoff: Backoff,
    attempts: int | None = None,
    deadline: float | None = None,
    report: Callable[[Exception], object],
) -> T:
    """Calls `attempt`, which must be safe to repeat, until it raises no error among `on`.

    Errors that are also among `unless` are not retried; `report` is called with each that is.
    There are at most `attempts`, if given. At `deadline`, a time of the event loop, a running
    attempt is cancelled; no pause begins that would end later.

    Raises:
        Exception: the error of the last attempt. If the deadline cancelled that attempt, the
            error of the one before, which says more than the `TimeoutError`.
    """
    pauses: Iterator[float] | None = None
    last: Exception | None = None
    number = 0
    while True:
        number += 1
        try:
            return await (attempt() if deadline is None else _call_until(deadline, attempt))
        except Exception as error:
            if last is not None and isinstance(error, _DeadlineReached):
                raise last from None
            pauses = pauses or backoff.pauses()
            pause_s = next(pauses)
            retried = isinstance(error, on) and not isinstance(error, unless)
            if not retried or number == attempts or _is_past(deadline, pause_s):
                raise
            last = error
            report(error)
        await backoff.sleep(pause_s)


_WHILE_AWAY = Backoff(first_s=0.05, longest_s=2.0)


async def retry_while_away(
    work: Callable[[], Awaitable[T]],
    log: logging.Logger,
    what: str,
    *,
    unless: Errors = (),
    deadline: float | None = None,
) -> T:
    """Like `retry`, for what has to be read or written once Howdah's own database is back.

    `what` completes the sentence "cannot ..." of the log.
    """
    return await retry(
        work,
        on=(HowdahError,),
        unless=unless,
        backoff=_WHILE_AWAY,
        deadline=deadline,
        report=lambda error: log.warning("cannot %s, will retry: %s", what, error),
    )


class _DeadlineReached(TimeoutError):
    """The deadline of `retry` cancelled an attempt."""


async def _call_until(deadline: float, attempt: Callable[[], Awaitable[T]]) -> T:
    try:
        async with asyncio.timeout_at(deadline) as limit:
            return await attempt()
    except TimeoutError as error:
        if limit.expired():
            raise _DeadlineReached from error
        raise


def _is_past(deadline: float | None, pause_s: float) -> bool:
    return deadline is not None and asyncio.get_running_loop().time() + pause_s >= deadline


async def wait_up_to(seconds: float | None, work: Awaitable[T]) -> T | None:
    """Returns the result of `work`, or None after `seconds`, when `work` is cancelled.

    A `TimeoutError` that `work` itself raises is passed on. None waits without limit.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        return None


class StopTimer:
    """The time that running work has to end, counted from the moment at which a stop begins."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends_at: float | None = None

    def begin(self) -> None:
        """Further calls change nothing."""
        if self._ends_at is None:
            self._ends_at = self._clock() + self._seconds

    def left_s(self) -> float:
        """What is left; all of it before the stop has begun."""
        if self._ends_at is None:
            return self._seconds
        return max(0.0, self._ends_at - self._clock())


async def cancel_all(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancels tasks and waits until they have ended. Their errors are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def start_background(work: Coroutine[Any, Any, T], *, name: str) -> "asyncio.Task[T]":
    """Starts work that goes on until it is cancelled. An error ends it, and is logged.

    The caller keeps the task, whose error asyncio would log only when the task is freed.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_error)
    return task


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, object], *, name: str) -> AsyncIterator[None]:
    """Runs `work` as `start_background` does while the block runs."""
    task = start_background(work, name=name)
    try:
        yield
    finally:
        await cancel_all([task])


def _log_error(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error(
            "background work has failed, and does not go on: %s", task.get_name(), exc_info=error
        )


class TaskSet(set["asyncio.Task[Any]"]):
    """Tasks of asyncio that have not ended. The event loop itself holds tasks weakly."""

    def start(
        self, work: Coroutine[Any, Any, T], *, name: str, context: Context | None = None
    ) -> "asyncio.Task[T]":
        task = asyncio.create_task(work, name=name, context=context)
        self.add(task)
        task.add_done_callback(self.discard)
        return task

    async def wait(self, seconds: float) -> None:
        """Waits until all have ended, but no longer than `seconds`."""
        if self:
            await asyncio.wait(self, timeout=seconds)


class SharedTasks(Generic[K, T]):
    """Callers that need the same work at the same time share one task.

    The task goes on if a caller is cancelled.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._shared: dict[K, asyncio.Task[T]] = {}
        self._tasks = TaskSet()

    @property
    def keys(self) -> list[K]:
        """The work that new callers would share."""
        return list(self._shared)

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns the result of the work, or raises its error, which other callers get too."""
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = self._tasks.start(work(), name=self._name)
            task.add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(task)

    def forget(self, key: K) -> None:
        """The next caller starts the work again. Those that wait get the result."""
        self._shared.pop(key, None)

    def is_current(self, key: K) -> bool:
        """Whether the task that calls this was not forgotten."""
        return self._shared.get(key) is asyncio.current_task()

    async def close(self) -> None:
        """Cancels the work."""
        await cancel_all(self._tasks)

    def _end(self, key: K, task: "asyncio.Task[T]") -> None:
        if self._shared.get(key) is task:
            del self._shared[key]
        drop_error(task)


class ShieldedTasks(TaskSet):
    """Runs work to its end, also if the caller that waits for it is cancelled."""

    async def run(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Returns the result of `work`. Its error is dropped if the caller was cancelled."""
        task = self.start(work, name=name)
        task.add_done_callback(drop_error)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits until all work has ended. If this is cancelled, so is the work."""
        await asyncio.gather(*self, return_exceptions=True)


def drop_error(work: "asyncio.Future[Any]") -> None:
    """As a done callback: else asyncio logs an error for which no caller waits any more."""
    if not work.cancelled():
        work.exception()
