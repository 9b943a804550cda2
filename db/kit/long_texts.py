"""Lists of rows with long texts end where their texts have a certain size.

A thousand runs may have statements of 500,000 characters each: without an end, one field of a
request would load 500 MB. PostgreSQL knows the size of a stored text without reading it.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, select

from db.errors import TooLarge
from db.kit.rows import Rows

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends with the row that reaches this size; the next page begins after it."""
LIST_BYTES = 8 * 1024 * 1024
"""Rows by ID, and the pages of several parents, have no next page, so more is an error."""

Sorting = Sequence[tuple[str, bool]]
"""Names of columns, and whether they fall."""


def end_after(query: Select[Any], texts: Sequence[str], sorting: Sorting, most: int) -> Select[Any]:
    """The first rows of a list, until `texts` have `most` bytes; one row more if the list goes on.

    The last row is that row if `goes_on`.
    """
    rows = query.subquery("listed")
    size = reduce(add, (func.coalesce(func.octet_length(rows.c[name]), 0) for name in texts))
    before = func.sum(size).over(order_by=_sorted(rows.c, sorting), rows=(None, -2))
    measured = select(*rows.c, before.label("bytes_before")).subquery("measured")
    columns = [measured.c[name] for name in rows.c.keys()]  # noqa: SIM118 - without `bytes_before`
    is_wanted = func.coalesce(measured.c.bytes_before, 0) < literal_column(str(most))
    return select(*columns).where(is_wanted).order_by(*_sorted(measured.c, sorting))


def _sorted(columns: Any, sorting: Sorting) -> list[ColumnElement[Any]]:
    return [columns[name].desc() if falls else columns[name].asc() for name, falls in sorting]


def goes_on(rows: Rows[Any], texts: Sequence[str], most: int) -> bool:
    """Whether `end_after` has ended the list: the last row is one more than it has."""
    positions = [rows.row._fields.index(name) for name in texts]
    size = 0
    for record in rows.records[:-1]:
        found = (record[position] for position in positions)
        size += sum(_size(text) for text in found if text is not None)
    return size >= most


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def too_much_text() -> TooLarge:
    return TooLarge(
        f"The texts of the requested rows have more than {LIST_BYTES >> 20} MiB together.",
        hint="Request fewer rows at once, or leave out the fields with long texts.",
    )
