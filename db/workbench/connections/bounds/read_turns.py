"""Turns of the event loop for connections whose servers send what takes long to read."""

import asyncio

TURN_S = 0.005
"""A connection reads at most as long without a pause."""


class ReadTurns:
    """Grants one turn at a time to all connections of a process, in order of arrival.

    Between two turns the loop is left to others for as long as a turn lasts, however many
    connections wait: eight that each paused by themselves delayed a small query by 330 ms.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def wait(self) -> None:
        """Returns when the caller may read for `TURN_S`."""
        await self._lock.acquire()
        asyncio.get_running_loop().call_later(2 * TURN_S, self._lock.release)
