"""Limits the rows that lists within lists load: each parent may have a full page of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Self, TypeVar
from uuid import UUID

from db.kit.lists.paging import Page
from graph.context import Context
from graph.executor import ResultTooLarge

MAX_ROWS = 250_000
"""Rows of one operation: each takes about 1 kB, and two or more of the result's 500,000 fields."""
MAX_ROWS_AT_ONCE = 50_000
"""Rows of one statement, which returns before they are counted."""

R = TypeVar("R", bound=NamedTuple)


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


async def find_pages(
    context: Context,
    parents: Sequence[UUID],
    page_size: int,
    find: Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Page[R]]]],
) -> Mapping[UUID, Page[R]]:
    """A page for each parent. `find` reads those of a part of the parents with one statement.

    Raises:
        ResultTooLarge: the operation has loaded too many rows.
    """
    loaded, pages = LoadedRows.of(context), dict[UUID, Page[R]]()
    count = max(MAX_ROWS_AT_ONCE // page_size, 1)
    for start in range(0, len(parents), count):
        found = await find(parents[start : start + count])
        loaded.add(sum(len(page.rows) for page in found.values()))
        pages |= found
    return pages
