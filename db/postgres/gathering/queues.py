"""The callers of one statement, and how many of them share it."""

import math
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

from db.postgres.gathering.calls import Call
from db.postgres.gathering.gathered_sql import GatheredSql
from db.postgres.statements import Statement

FEWEST = 2
LARGEST_BATCH = 128
FIRST_BATCH = 8
"""The largest batch of a page until it is known how long the page takes."""
BATCH_TAKES_S = 0.005
"""A batch has at most as many callers as the database probably answers in this time."""
SHORT_PAGE_S = 0.001
"""Pages that take the database less time are gathered like rows; of longer ones, the database had
better work on several at once.

Pages are short until they are known: gathered ones show how long they take, while the time of
others is mostly that of a busy event loop.
"""
WINDOW_S = 10.0


class SlidingMinimum:
    """The smallest value of the last one to two windows."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._ends = 0.0
        self._last = self._current = math.inf
        self.value = 0.0
        """0 before the first one."""

    def add(self, value: float, now: float) -> bool:
        """Returns whether the minimum may have changed."""
        if now >= self._ends:
            self._ends = now + self._window_s
            self._last, self._current = self._current, value
        elif value < self._current:
            self._current = value
        else:
            return False
        self.value = min(self._last, self._current)
        return True


class StatementQueue:
    """The callers of one statement."""

    __slots__ = ("batch_size", "call_s", "calls", "form", "in_flight", "statement", "waiting")

    def __init__(self, statement: Statement[Any], form: GatheredSql | None) -> None:
        self.statement = statement
        self.form = form
        self.waiting: deque[Call] = deque()
        self.in_flight = 0
        self.calls = 0
        """The calls whose statement is under way."""
        self.call_s = SlidingMinimum(WINDOW_S)
        """Time that the database spends on one call, without the round trip; 0 if unknown."""
        self.batch_size = FIRST_BATCH if form is not None and form.is_page else LARGEST_BATCH

    def row(self, arguments: Sequence[Any]) -> Hashable | None:
        """The row that a change of one row locks. Nobody else knows the ID of a new row."""
        form = self.form
        if form is None or form.row_id is None or form.by_row_id:
            return None
        return form.table, arguments[form.row_id]

    def weight(self, arguments: Sequence[Any]) -> int:
        """How many calls of the statement a caller counts as."""
        return 1 if self.form is None or not self.form.arrays else self.form.weight(arguments)

    def learn(self, seconds: float, weight: int, now: float) -> None:
        if self.call_s.add(max(seconds, 0.0) / weight, now):
            most = int(BATCH_TAKES_S / max(self.call_s.value, 1e-6))
            self.batch_size = max(1, min(LARGEST_BATCH, most))

    @property
    def gathers(self) -> bool:
        """Whether calls wait although there are connections."""
        form = self.form
        if form is None or not form.is_page:
            return form is not None
        return not form.arrays and self.call_s.value < SHORT_PAGE_S

    @property
    def most_callers(self) -> int:
        """How many callers the next statement has at most.

        Changes and pages are halved: the database works on one half while Howdah answers the
        other. Rows take it so little time that one large statement is better. Rows with long texts
        may be large, however short the time that others took.
        """
        form = self.form
        most = LARGEST_BATCH if form is None or form.most_callers is None else form.most_callers
        is_halved = form is not None and (form.is_page or form.row_id is not None)
        if not is_halved or not self.gathers:
            return most
        return min(most, math.ceil((self.calls + len(self.waiting)) / FEWEST))

    @property
    def is_busy(self) -> bool:
        return self.in_flight > 0 or bool(self.waiting)
