"""What a process counts about its statements on Howdah's own database."""

import math
from collections.abc import Callable
from contextvars import ContextVar

from db.distributions import SIZES, Distribution


class StatementCount:
    """How many statements an operation has sent."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


current_count: ContextVar[StatementCount | None] = ContextVar("current_count", default=None)
"""The count of the operation in this task, and in the tasks that it starts."""


class DatabaseFigures:
    """`slow_s` and `report_slow` are set by whoever wants to know of slow statements."""

    def __init__(self) -> None:
        self.reads = Distribution()
        self.changes = Distribution()
        self.in_transactions = Distribution()
        self.batches = Distribution(SIZES)
        self.conflicts = self.lost = self.slow = 0
        self.slow_s = math.inf
        self.report_slow: Callable[[str, float], None] = lambda _sql, _seconds: None

    def add(
        self, durations: Distribution, sql: str, seconds: float, *, may_be_slow: bool = True
    ) -> None:
        """Call after each statement, failed ones included, with the durations of its kind."""
        durations.add(seconds)
        if may_be_slow and seconds >= self.slow_s:
            self.add_slow(sql, seconds)

    def report_slow_to(self, figures: "DatabaseFigures") -> None:
        """What is slow here is counted and reported there too."""
        self.slow_s, self.report_slow = figures.slow_s, figures.add_slow

    def add_slow(self, sql: str, seconds: float) -> None:
        self.slow += 1
        self.report_slow(sql, seconds)
