"""Waiting with a timeout that is no error."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


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
