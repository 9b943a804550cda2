"""The pace of one owner's runs: together they read as much in a round of the loop as one alone."""

import asyncio
import contextlib
from collections.abc import Iterator


class Pace:
    """Eight runs that each take in what has come would otherwise hold up everybody else."""

    def __init__(self) -> None:
        self._readers = 0
        self._turn = asyncio.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While a run reads."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def burst(self) -> None:
        """Before rows that have come are taken in; returns at once for one who reads alone."""
        if self._readers > 1:
            async with self._turn:
                await asyncio.sleep(0)
