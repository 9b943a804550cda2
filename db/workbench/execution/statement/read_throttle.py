"""Throttles the concurrent runs of one owner to the read rate of a single run."""

import asyncio
import contextlib
from collections.abc import Iterator


class ReadThrottle:
    """Lets one of an owner's runs read in each iteration of the event loop.

    Eight runs that all read whatever has arrived would delay the requests of other users.
    """

    def __init__(self) -> None:
        self._readers = 0
        self._lock = asyncio.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Counts a run as a reader inside the block."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def yield_to_others(self) -> None:
        """Call before arrived rows are processed. Returns at once for a single reader."""
        if self._readers > 1:
            async with self._lock:
                await asyncio.sleep(0)
