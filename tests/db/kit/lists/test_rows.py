"""Rows that are made when they are asked for."""

from typing import NamedTuple

from db.kit.lists.partial_rows import partial_row
from db.kit.lists.rows import Rows


class Point(NamedTuple):
    x: int
    y: int = 0


def test_rows_are_a_sequence_of_instances() -> None:
    rows = Rows(Point, [(1, 2), (3, 4), (5, 6)])
    assert list(rows) == [Point(1, 2), Point(3, 4), Point(5, 6)]
    assert (rows[0], rows[-1].y, len(rows)) == (Point(1, 2), 6, 3)
    assert rows[:2][::-1] == [Point(3, 4), Point(1, 2)]
    assert Point(3, 4) in rows
    assert rows != [Point(1, 2)]
    assert not Rows(Point, [])


def test_rows_with_some_columns_have_only_those() -> None:
    (row,) = Rows(partial_row(Point, frozenset({"y"})), [(2,)])
    assert row.y == 2
    assert not hasattr(row, "x")
