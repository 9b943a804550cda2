"""Waiting: retries with exponential backoff and full jitter, and timeouts that are no errors."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Sleep: TypeAlias = Callable[[float], Awaitable[object]]
Uniform: TypeAlias = Callable[[float, float], float]
Errors: TypeAlias = tuple[type[Exception], ...]


class Backoff:
    """Pauses between attempts: random, up to a limit that doubles from `first_s` to `longest_s`.

    The jitter is full (from 0 to the limit), so that processes which failed together do not
    repeat their attempts together.
    """

    def __init__(
        self,
        *,
        first_s: float,
        longest_s: float,
        uniform: Uniform = random.uniform,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._first_s = self._limit_s = first_s
        self._longest_s = longest_s
        self._uniform = uniform
        self.sleep = sleep

    def next_s(self) -> float:
        """Returns the next pause, in seconds, for a caller that waits itself."""
        pause_s = self._uniform(0, self._limit_s)
        self._limit_s = min(2 * self._limit_s, self._longest_s)
        return pause_s

    async def pause(self) -> None:
        await self.sleep(self.next_s())

    def reset(self) -> None:
        """Call after a success: the next pause is short again."""
        self._limit_s = self._first_s


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
    loop = asyncio.get_running_loop()
    last: Exception | None = None
    number = 0
    while True:
        number += 1
        try:
            async with asyncio.timeout_at(deadline) as limit:
                return await attempt()
        except Exception as error:
            if last is not None and limit.expired():
                raise last from None
            pause_s = backoff.next_s()
            too_late = deadline is not None and loop.time() + pause_s >= deadline
            retried = isinstance(error, on) and not isinstance(error, unless)
            if not retried or too_late or number == attempts:
                raise
            last = error
            report(error)
        await backoff.sleep(pause_s)


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
