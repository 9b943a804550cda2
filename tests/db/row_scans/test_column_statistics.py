# ruff: noqa: S608 - the statements are of this module
"""Statistics of columns, compared with PostgreSQL's aggregates."""

import json
import random
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from db.row_scans import column_statistics
from db.row_scans.column_statistics import ColumnStatistics, Statistics, StatisticsRequest
from tests.fixtures.runs import Desk

NUMBERS = "SELECT (i * 7919 % 1000)::{} - 300 AS v FROM generate_series(1, 5000) i"
COLUMNS = {
    "int4": NUMBERS.format("int4"),
    "int8": NUMBERS.format("int8"),
    "numeric": "SELECT round(i * 1.000000000000000001 / 7, 19) AS v FROM generate_series(1, 500) i",
    "float8": "SELECT (i % 50) * 0.1::float8 AS v FROM generate_series(1, 500) i",
    "text": "SELECT repeat(chr(97 + i % 7), i % 5) AS v FROM generate_series(1, 500) i",
    "date": "SELECT '2026-01-01'::date + i % 90 AS v FROM generate_series(1, 500) i",
    "bool": "SELECT i % 3 = 0 AS v FROM generate_series(1, 500) i",
}


def statistics(oid: int, values: list[Any]) -> Statistics:
    found = ColumnStatistics(StatisticsRequest([oid], 0))
    for start in range(0, len(values), 10_000):
        rows = (json.dumps([value]).encode() + b"\n" for value in values[start : start + 10_000])
        found.add(0, 0, b"".join(rows))
    return found.result()


async def test_statistics_are_those_of_postgresql(desk: Desk) -> None:
    for kind, query in COLUMNS.items():
        source = f"({query} UNION ALL SELECT NULL FROM generate_series(1, 3)) t"
        rows = await desk.rows(await desk.run(f"SELECT v FROM {source}"), first=100_000)
        run = await desk.run(f"SELECT v FROM {source} LIMIT 1")
        (column,) = run.parsed_columns or []
        found = statistics(column.type_oid, [row[0] for row in rows])
        collation = ' COLLATE "C"' if kind == "text" else ""
        ends = (
            "NULL, NULL" if kind == "bool" else f"min(v{collation})::text, max(v{collation})::text"
        )
        sums = "sum(v)::numeric::text, avg(v)::numeric::text"
        sums = sums if kind in ("int4", "int8", "numeric") else "NULL, NULL"
        lengths = "min(length(v)), max(length(v))" if kind == "text" else "NULL, NULL"
        [expected] = await desk.rows(
            await desk.run(
                f"""SELECT count(*), count(*) - count(v), count(DISTINCT v),
                    {ends}, {sums}, {lengths},
                    (SELECT count(*) FROM {source} WHERE v IS NOT NULL GROUP BY v
                     ORDER BY 1 DESC LIMIT 1) FROM {source}"""
            )
        )
        total, nulls, distinct, least, most, amount, average, shortest, longest, top = expected
        assert (found.row_count, found.null_count) == (int(total), int(nulls)), kind
        assert (found.distinct_count, found.distinct_is_exact) == (int(distinct), True), kind
        assert (found.top_values[0].count, found.count_error) == (int(top), 0), kind
        if kind not in ("bool", "float8"):
            assert (found.minimum, found.maximum) == (least, most), kind
        if amount is not None:
            assert found.sum is not None
            assert found.average is not None
            assert Decimal(found.sum) == Decimal(amount), kind
            assert abs(Decimal(found.average) - Decimal(average)) < Decimal("1e-15"), kind
        if kind == "text":
            assert (found.shortest, found.longest) == (shortest, longest)


@pytest.mark.parametrize(
    ("oid", "values", "total"),
    [
        (1700, ["NaN", "1"], "NaN"),
        (1700, ["Infinity", "1"], "Infinity"),
        (1700, ["Infinity", "-Infinity"], "NaN"),
        (1700, ["1", "9" * 200, "0." + "0" * 99 + "1"], "1" + "0" * 200 + "." + "0" * 99 + "1"),
        (701, ["Infinity", "-Infinity", 1.5], "NaN"),
        (701, [1e308, 1e308], "Infinity"),
        (701, [0.1] * 10, "1"),
        (20, [str(2**63 - 1)] * 3, str(3 * (2**63 - 1))),
        (25, ["1"], None),
        (23, [None, None], None),
    ],
)
def test_sums_are_exact(oid: int, values: list[Any], total: str | None) -> None:
    assert statistics(oid, values).sum == total


def test_equal_values_of_different_text_are_one() -> None:
    found = statistics(1700, ["1.0", "1.00", "1", "2"])
    assert [(one.value, one.count) for one in found.top_values] == [("1.0", 3), ("2", 1)]
    assert found.distinct_count == 2


def test_many_distinct_values_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_statistics, "MAX_COUNTED", 2_000)
    values = [f"rare {number}" for number in range(60_000)] + ["often"] * 20_000
    random.Random(1).shuffle(values)  # noqa: S311 - an order, not a secret
    found = statistics(25, values)
    assert not found.distinct_is_exact
    assert abs(found.distinct_count - 60_001) < 6_000
    top = found.top_values[0]
    assert top.value == "often"
    assert top.count <= 20_000 <= top.count + found.count_error


def test_long_values_take_bounded_memory() -> None:
    values = [f"{number}" + "x" * 100_000 for number in range(300)] * 2
    found = statistics(25, values)
    assert (found.distinct_count, found.distinct_is_exact) == (300, True)
    assert {(len(one.value), one.count) for one in found.top_values} == {(1_000, 2)}
    assert found.longest == 100_003


@pytest.mark.parametrize(
    ("oid", "values"),
    [(1700, ["1e399999", "1"] * 8_000), (1700, ["x"]), (20, ["9" * 5_000]), (23, [[1]])],
    ids=["exponents", "no number", "long integer", "list"],
)
def test_values_that_postgresql_does_not_send_have_no_sum(oid: int, values: list[object]) -> None:
    """Not even a second: with exponents, each of 8,000 additions would have 400,000 digits."""
    statistics = ColumnStatistics(StatisticsRequest([oid], 0))
    began = time.process_time()
    statistics.add(0, 0, b"\n".join(msgspec.json.encode([value]) for value in values))
    found = statistics.result()
    assert (found.row_count, found.sum, found.average) == (len(values), None, None)
    assert time.process_time() - began < 1
