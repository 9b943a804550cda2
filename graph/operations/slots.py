"""Turns: each viewer runs two operations at once, their next ones wait.

All operations share one event loop: without turns, one who sends sixty at once makes the small
query of everybody else wait for sixty. Two keep the database and this process busy at once.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Hashable
from typing import TypeAlias

from db.errors import RateLimited
from graph.operations.read_limit import Reads

AT_ONCE = 2
WAITING = 2_000  # a page that reconnects may open a thousand subscriptions together
LASTS_S = 1.0


class Turn:
    """The right of one operation to work. Ends with it, or before."""

    __slots__ = ("_ended", "_ends_at", "_line", "_timer")

    def __init__(self, line: "_Line", ends_at: float) -> None:
        self._line = line
        self._ends_at = ends_at
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """The next may begin; to end a turn again changes nothing."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._line.pass_on(self)

    def rest(self, seconds: float) -> None:
        """Ends it, a while later if somebody waits: what is not rationed gets the time between."""
        if self._ended or not self._line.waiting:
            self.end()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def limit(self) -> None:
        """Somebody waits for it: from now on it is looked after that it ends in time."""
        if self._timer is None and not self._ended:
            left_s = self._ends_at - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left_s, 0), self.end)

    @property
    def reads(self) -> Reads:
        """Of all that its viewer has at work."""
        return self._line.reads

    @property
    def search(self) -> Reads:
        """Of all that its viewer has at work, one read at a time that looks at many rows."""
        return self._line.search


_Waiter: TypeAlias = asyncio.Future[Turn]


class _Line:
    """One viewer's turns that are taken, and who of them waits for the next."""

    __slots__ = ("_turns", "_viewer", "reads", "search", "taken", "waiting")

    def __init__(self, turns: "Turns", viewer: Hashable) -> None:
        self._turns = turns
        self._viewer = viewer
        self.taken: list[Turn] = []
        self.waiting: deque[_Waiter] = deque()
        self.reads = Reads()
        self.search = Reads(1)

    def take(self, ends_at: float) -> Turn:
        turn = Turn(self, ends_at)
        self.taken.append(turn)
        return turn

    def limit(self) -> None:
        for turn in self.taken:
            turn.limit()

    def pass_on(self, ended: Turn) -> None:
        self.taken.remove(ended)
        while self.waiting:
            heir = self.waiting.popleft()
            if not heir.done():
                heir.set_result(self.take(self._turns.end_of_one_from_now()))
                break
        if self.waiting:
            self.limit()
        if not self.taken:
            self._turns.forget(self._viewer)


class Turns:
    """Hands out turns, to each viewer first come, first served.

    A turn ends with its operation, or before: when the operation says that it only waits from
    now on, and after `lasts_s` at the latest when others wait. So nothing long holds up what
    would cancel it.
    """

    def __init__(
        self, *, at_once: int = AT_ONCE, waiting: int = WAITING, lasts_s: float = LASTS_S
    ) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._lasts_s = lasts_s
        self._lines: dict[Hashable, _Line] = {}

    def take(self, viewer: Hashable) -> Turn | None:
        """A turn for one operation, where there is one at once; else `wait` for it."""
        line = self._lines.get(viewer)
        if line is None:
            line = self._lines[viewer] = _Line(self, viewer)
        elif len(line.taken) >= self._at_once:
            return None
        return line.take(self.end_of_one_from_now())

    async def wait(self, viewer: Hashable) -> Turn:
        """A turn, once those before have had theirs.

        Raises:
            RateLimited: too many of this viewer's operations wait already.
        """
        line = self._lines[viewer]
        if len(line.waiting) >= self._waiting:
            raise RateLimited(
                f"{self._waiting} of your operations wait already.",
                hint="Send the next when some of them are answered.",
                retry_after_s=1,
            )
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        line.waiting.append(waiter)
        line.limit()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # `pass_on` has met it already
                    line.waiting.remove(waiter)
            else:  # it was given in the same moment: it goes to the next
                waiter.result().end()
            raise

    def end_of_one_from_now(self) -> float:
        return time.monotonic() + self._lasts_s

    def forget(self, viewer: Hashable) -> None:
        del self._lines[viewer]
