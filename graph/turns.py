"""Turns: each viewer runs two operations at once, their next ones wait.

All operations share one event loop: without turns, one who sends sixty at once makes the small
query of everybody else wait for sixty. Two keep the database and this process busy at once.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable

from db.errors import RateLimited

AT_ONCE = 2
WAITING = 500
LASTS_S = 1.0


class _Line:
    """One viewer's turns that are taken, and who of them waits for the next."""

    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Turns:
    """Hands out turns, to each viewer first come, first served.

    A turn ends with its operation, or before: when the operation says that it only waits from
    now on, and at the latest after `lasts_s`. So nothing long holds up what would cancel it.
    """

    def __init__(
        self, *, at_once: int = AT_ONCE, waiting: int = WAITING, lasts_s: float = LASTS_S
    ) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._lasts_s = lasts_s
        self._lines: dict[Hashable, _Line] = {}

    @contextlib.asynccontextmanager
    async def of(self, viewer: Hashable) -> AsyncIterator[Callable[[], None]]:
        """Around the work of one operation; gives it the way to end its turn early.

        Raises:
            RateLimited: too many of this viewer's operations wait already.
        """
        line = self._lines.setdefault(viewer, _Line())
        if line.taken < self._at_once:
            line.taken += 1
        else:
            await self._wait(viewer, line)
        with contextlib.ExitStack() as turn:
            turn.callback(self._pass_on, viewer, line)
            timer = asyncio.get_running_loop().call_later(self._lasts_s, turn.close)
            try:
                yield turn.close
            finally:
                timer.cancel()

    async def _wait(self, viewer: Hashable, line: _Line) -> None:
        if len(line.waiting) >= self._waiting:
            raise RateLimited(
                f"{self._waiting} of your operations wait already.",
                hint="Send the next when some of them are answered.",
                retry_after_s=1,
            )
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                line.waiting.remove(mine)
            else:  # it was given in the same moment: it goes to the next
                self._pass_on(viewer, line)
            raise

    def _pass_on(self, viewer: Hashable, line: _Line) -> None:
        while line.waiting:
            if not (heir := line.waiting.popleft()).done():
                heir.set_result(None)
                return
        line.taken -= 1
        if line.taken == 0:
            del self._lines[viewer]
