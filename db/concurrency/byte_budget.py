"""A limit of what is read together, where only a read shows how large it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class ByteBudget:
    """The bytes that are left for some reads, a few of which are under way at a time.

    It may be exceeded by what is under way when it is used up.
    """

    def __init__(self, total: int, *, at_once: int, exceeded: Callable[[int], Exception]) -> None:
        """`exceeded` makes the error from `total`."""
        self._total = self._left = total
        self._turns = asyncio.Semaphore(at_once)
        self._exceeded = exceeded

    async def spend(self, read: Callable[[], Awaitable[T]], size_of: Callable[[T], int]) -> T:
        """Runs `read`, unless nothing is left."""
        async with self._turns:
            if self._left <= 0:
                raise self._exceeded(self._total)
            found = await read()
            self._left -= size_of(found)
            return found
