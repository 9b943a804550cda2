"""A limit of what is read together, where only a read shows how large it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Holder(Protocol):
    """Holds in memory what is read, until its operation ends."""

    def require_room(self) -> None:
        """Raises `Overloaded` if its user holds too much already."""

    def hold(self, size: int) -> None: ...


class ByteBudget:
    """The bytes that are left for some reads, a few of which are under way at a time.

    It may be exceeded by what is under way when it is used up.
    """

    def __init__(
        self,
        total: int,
        *,
        at_once: int,
        exceeded: Callable[[int], Exception],
        holder: Holder,
    ) -> None:
        """`exceeded` makes the error from `total`."""
        self._total = self._left = total
        self._turns = asyncio.Semaphore(at_once)
        self._exceeded = exceeded
        self._holder = holder

    async def spend(self, read: Callable[[], Awaitable[T]], size_of: Callable[[T], int]) -> T:
        """Runs `read`, unless nothing is left.

        Raises:
            Overloaded: The user holds too much.
        """
        async with self._turns:
            if self._left <= 0:
                raise self._exceeded(self._total)
            self._holder.require_room()
            found = await read()
            size = size_of(found)
            self._left -= size
            self._holder.hold(size)
            return found
