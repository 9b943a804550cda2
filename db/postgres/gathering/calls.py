"""The calls of a statement that wait for their answers, and those that are sent together."""

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextvars import Context
from operator import itemgetter, le
from typing import Any, TypeAlias

from db.postgres.gathering.gathered_sql import GatheredSql

Rows: TypeAlias = Sequence[Any]

_CALLER, _ROW = itemgetter(0), itemgetter(slice(1, None))


class Call(asyncio.Future[Rows]):
    """A caller's statement that waits for its answer."""

    __slots__ = ("arguments", "context", "expires", "row")

    arguments: Sequence[Any]
    context: Context
    expires: float
    row: Hashable | None
    """The row that it locks, if it is a change of one row."""


class NoCallsLeft(Exception):
    """All calls of a batch have left or expired before it was sent."""


class Batch:
    """Calls that one statement answers, which is sent as soon as there is a connection.

    Iterating over it makes the arguments of that statement. Calls that have left or expired by then
    are not among them.
    """

    __slots__ = ("calls", "is_sent", "make_arguments")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.is_sent = False
        self.make_arguments: Callable[[Sequence[Sequence[Any]]], Iterable[Any]] = itemgetter(0)
        """Makes the arguments from those of each call; at first, for a call alone."""

    def __iter__(self) -> Iterator[Any]:
        self.is_sent = True
        self.calls = [call for call in self.calls if not call.done()]
        if not self.calls:
            raise NoCallsLeft
        return iter(self.make_arguments([call.arguments for call in self.calls]))


def divide(
    form: GatheredSql, records: Sequence[Any], calls: Sequence[Call]
) -> Iterable[Sequence[Any]]:
    """The rows of each call."""
    callers = list(map(_CALLER, records))
    rows = list(map(_ROW, records))
    if form.by_row_id and form.row_id is not None:
        at = {call.arguments[form.row_id]: number for number, call in enumerate(calls, start=1)}
        callers = [at[row_id] for row_id in callers]
    if not _is_ascending(callers):  # PostgreSQL may answer in any order
        order = sorted(range(len(callers)), key=callers.__getitem__)
        callers = [callers[place] for place in order]
        rows = [rows[place] for place in order]
    ends = [bisect_right(callers, number) for number in range(len(calls) + 1)]
    return [rows[start:end] for start, end in itertools.pairwise(ends)]


def _is_ascending(numbers: Sequence[int]) -> bool:
    return all(map(le, numbers, numbers[1:]))


def settle(call: Call, rows: Rows) -> None:
    if not call.done():
        call.set_result(rows)


def fail(call: Call, error: Exception) -> None:
    if not call.done():
        call.set_exception(error)
