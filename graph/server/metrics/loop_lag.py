"""Measures how late the event loop is."""

import asyncio
import contextlib
from collections.abc import Iterator

from db.distributions import LAG_S, Distribution

EVERY_S = 0.5


class LoopLag:
    """A timer that notes how much later than it should it expires: the wait of everything else."""

    def __init__(self) -> None:
        self.seconds = Distribution(LAG_S)

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measures while the block runs."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def expire(due: float) -> None:
            self.seconds.add(max(0.0, loop.time() - due))
            start()

        def start() -> None:
            nonlocal timer
            due = loop.time() + EVERY_S
            timer = loop.call_at(due, expire, due)

        start()
        try:
            yield
        finally:
            timer.cancel()
