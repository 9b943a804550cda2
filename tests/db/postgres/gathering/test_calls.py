"""The rows of a gathered statement are handed out to those who asked for them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.postgres.gathering.calls import Call, divide
from db.postgres.gathering.gathered_sql import GatheredSql


@pytest.mark.parametrize("by_row_id", [False, True])
@given(counts=st.lists(st.integers(0, 3), min_size=1), seed=st.integers(), shuffled=st.booleans())
async def test_rows_may_come_in_any_order(
    counts: list[int], seed: int, *, by_row_id: bool, shuffled: bool
) -> None:
    """Those of one caller keep their order."""
    if by_row_id:
        counts = [min(count, 1) for count in counts]
    form = GatheredSql("", lambda _: [], row_id=0 if by_row_id else None, by_row_id=by_row_id)
    calls = [Call() for _ in counts]
    for number, call in enumerate(calls):
        call.arguments = (f"id {number}",)
    expected = [[(number, row) for row in range(count)] for number, count in enumerate(counts)]
    groups = [
        [(f"id {number}" if by_row_id else number + 1, *row) for row in rows]
        for number, rows in enumerate(expected)
    ]
    records = [record for group in groups for record in group]
    if shuffled:
        turns = [number for number, count in enumerate(counts) for _ in range(count)]
        random.Random(seed).shuffle(turns)  # noqa: S311 - a schedule that can be had again
        left = [iter(group) for group in groups]
        records = [next(left[number]) for number in turns]
    assert list(divide(form, records, calls)) == expected
