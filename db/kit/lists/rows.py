"""Records of a statement as rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

R = TypeVar("R", bound=NamedTuple)

_WHOLE = itemgetter(slice(None))


def make_rows(row: type[R]) -> Callable[[Iterable[Any]], R]:
    """Like `row._make`, but without its length check for each record."""
    return cast("Callable[[Iterable[Any]], R]", partial(tuple.__new__, row))


def rows_of(row: type[R], records: Iterable[Any]) -> list[R]:
    """The records as rows. A slice of a record is a tuple, which is read faster than a record."""
    return list(map(make_rows(row), map(_WHOLE, records)))


class Rows(Sequence[R], Generic[R]):
    """Records of a statement as rows, each made only when it is asked for.

    A list of a response reads the values from `records`, in the order of `row._fields`: making the
    rows first takes a quarter of the time of such a list.
    """

    __slots__ = ("records", "row")

    def __init__(self, row: type[R], records: Sequence[Any]) -> None:
        self.row = row
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> "Rows[R]": ...
    def __getitem__(self, at: int | slice) -> "R | Rows[R]":
        found = self.records[at]
        return Rows(self.row, found) if isinstance(at, slice) else rows_of(self.row, (found,))[0]

    def __iter__(self) -> Iterator[R]:
        return iter(rows_of(self.row, self.records))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list
