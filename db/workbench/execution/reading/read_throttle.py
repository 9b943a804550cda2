"""Throttles reading, so that it leaves the event loop to the requests of other users."""

import asyncio
import time

LEAST_S = 0.0003
GROWN_S = 0.0006
GROWTH = 1.3
PAUSE_S = 0.001
"""While something else needs the loop: without it, eight runs of wide rows take all of it."""
IDLE_S = 0.00003
"""An iteration of the event loop takes less if there is nothing else to do."""


class ReadThrottle:
    """Lets one of an owner's runs process rows in an iteration of the event loop, for a short time.

    Rows that arrive faster than they are processed would never leave the loop: a piece from the
    socket holds thousands of narrow rows, which take 12 ms. The time grows while nothing else needs
    the loop, so that an idle server loses nothing.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._time_s = LEAST_S
        self._ends_at = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the time to process rows in this iteration is used up."""
        return time.monotonic() >= self._ends_at

    async def yield_to_others(self) -> None:
        """Call before arrived rows are processed. Returns at once while there is time left."""
        if not self.is_over:
            return
        async with self._lock:
            began = time.monotonic()
            await asyncio.sleep(0)
            is_idle = time.monotonic() - began < IDLE_S
            if not is_idle:
                await asyncio.sleep(PAUSE_S)
            now = time.monotonic()
            self._time_s = min(self._time_s * GROWTH, GROWN_S) if is_idle else LEAST_S
            self._ends_at = now + self._time_s
