"""Lists of rows with long texts end where their texts have a certain size.

A thousand runs may have statements of 500,000 characters each: without an end, one field of a
request would load 500 MB. PostgreSQL knows the size of a stored text without reading it. What the
lists of one operation read together has a budget.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, literal_column, select

from db.concurrency.byte_budget import ByteBudget, Holder
from db.errors import TooLarge
from db.postgres.gathering.gathered_sql import MOST_BYTES

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends with the row that reaches this size; the next page begins after it."""
CHILDREN_BYTES = 8 * 1024 * 1024
"""The pages of several parents, which one statement reads: more is an error."""
ROWS_BYTES = 16 * 1024 * 1024
"""Rows by ID, with all of their columns: more is an error."""
OPERATION_BYTES = 32 * 1024 * 1024
"""All lists of one operation: those that begin after it is used up are errors."""
READS_AT_ONCE = 4
"""Lists that an operation reads at a time: they may exceed its budget together."""

Sorting = Sequence[tuple[str, bool]]
"""Names of columns, and whether they fall."""


class Ended(NamedTuple):
    """The rows that `end_after` found."""

    records: Sequence[Any]
    goes_on: bool
    """Whether the last row is one more than the list has."""


def bytes_in(columns: Any, texts: Sequence[str]) -> ColumnElement[int]:
    """The bytes that one row has of `texts`."""
    return reduce(add, (func.coalesce(func.octet_length(columns[name]), 0) for name in texts))


def end_after(query: Select[Any], texts: Sequence[str], sorting: Sorting, most: int) -> Select[Any]:
    """The first rows of a list, until `texts` have `most` bytes; one row more if the list goes on.

    The last column, which `ended` reads, has the bytes of the texts up to that row.
    """
    rows = query.subquery("listed")
    size = bytes_in(rows.c, texts)
    sizes, before_last = (
        func.coalesce(func.sum(size).over(order_by=_sorted(rows.c, sorting), rows=(None, -near)), 0)
        for near in (0, 2)
    )
    measured = select(
        *rows.c, sizes.label("bytes"), before_last.label("bytes_before_last")
    ).subquery("measured")
    columns = [measured.c[name] for name in rows.c.keys()]  # noqa: SIM118 - without the sizes
    end: ColumnElement[int] = literal_column(str(most))
    return (
        select(*columns, measured.c.bytes)
        .where(measured.c.bytes_before_last < end)
        .order_by(*_sorted(measured.c, sorting))
        .execution_options(**{MOST_BYTES: most})
    )


def _sorted(columns: Any, sorting: Sorting) -> list[ColumnElement[Any]]:
    return [columns[name].desc() if falls else columns[name].asc() for name, falls in sorting]


def ended(records: Sequence[Any], most: int) -> Ended:
    """The records of `end_after`, without its last column."""
    goes_on = len(records) > 1 and records[-2][-1] >= most
    return Ended([record[:-1] for record in records], goes_on)


def bytes_of(records: Sequence[Any]) -> int:
    """Of the texts in the records of `end_after`."""
    return records[-1][-1] if records else 0


def make_text_budget(holder: Holder) -> ByteBudget:
    """What one operation may read of long texts."""
    return ByteBudget(OPERATION_BYTES, at_once=READS_AT_ONCE, exceeded=too_much_text, holder=holder)


def too_much_text(limit: int) -> TooLarge:
    return TooLarge(
        f"The texts of the requested rows have more than {limit >> 20} MiB together.",
        hint="Request fewer rows at once, or not their texts.",
    )
