"""Limits the rows that lists within lists load: each parent may have a full page of them."""

from collections.abc import Iterator, Sequence
from typing import Self, TypeVar

from graph.context import Context
from graph.executor import ResultTooLarge

MAX_ROWS = 250_000
"""Of one operation. Each takes about 1 kB, and two or more of the 500,000 fields of a result."""
MAX_ROWS_AT_ONCE = 50_000
"""Of one statement, which returns before its rows are counted."""

P = TypeVar("P")


class LoadedRows:
    """The number of rows that one operation has loaded."""

    def __init__(self) -> None:
        self._count = 0

    @classmethod
    def of(cls, context: Context) -> Self:
        found: Self = context.loaders.setdefault(cls, cls())
        return found

    def add(self, count: int) -> None:
        """Counts rows.

        Raises:
            ResultTooLarge: the operation has loaded too many.
        """
        self._count += count
        if self._count > MAX_ROWS:
            raise ResultTooLarge(MAX_ROWS, "rows")


def parents_at_once(parents: Sequence[P], page_size: int) -> Iterator[Sequence[P]]:
    """Divides the parents, so that one statement reads a page for each of a part of them."""
    count = max(MAX_ROWS_AT_ONCE // page_size, 1)
    for start in range(0, len(parents), count):
        yield parents[start : start + count]
