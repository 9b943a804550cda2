# ruff: noqa: S608 - the statements are of this module
"""Sorted and filtered rows are those of PostgreSQL's ORDER BY and WHERE."""

import json
import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from db.row_scans import row_order
from db.row_scans.conditions import Condition, RowComparison, text_of
from db.row_scans.row_order import OrderRequest, RowOrder, SortColumn, places_of
from db.row_scans.sort_keys import KEY_TYPES, has_own_order, key_maker, key_of_text
from db.runs import RunRow
from tests.fixtures.runs import Desk

VALUES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "0", "7", "32767"],
    "int4": ["-2147483648", "-1", "0", "10", "9", "2147483647"],
    "int8": ["-9223372036854775808", "-10", "-9", "0", "9", "10", "9223372036854775807"],
    "oid": ["0", "9", "10", "4294967295"],
    "float4": ["NaN", "-Infinity", "Infinity", "-0", "0", "0.1", "1e-45", "3.4028235e+38", "-2.5"],
    "float8": ["NaN", "-Infinity", "Infinity", "-0", "0", "0.1", "5e-324", "-1e308", "1e15", "2"],
    "numeric": [
        *("NaN", "Infinity", "-Infinity", "0", "0.00", "1", "1.0", "1.10", "1.1", "-1.1", "-1.10"),
        *("9.99", "10", "-10", "0.001", "0.0001", "-0.0001", "1e-400", "-1e400", "1e400"),
        *("123456789012345678901234567890.1", "123456789012345678901234567890.2"),
    ],
    "text": ["", " ", "a", "A", "ab", "a b", "b", "é", "z", "🐘", "\uffff", "\x01", "%", "a\tb"],
    "bpchar": ["a", "a  ", "a b", "b"],
    "uuid": ["00000000-0000-0000-0000-00000000000a", "ffffffff-0000-0000-0000-000000000000"],
    "date": [
        *("infinity", "-infinity", "4713-01-01 BC", "0044-03-15 BC", "0001-01-01 BC", "0001-01-01"),
        *("1969-12-31", "1970-01-01", "2000-02-29", "2026-11-29", "9999-12-31", "5874897-12-31"),
    ],
    "time": ["00:00:00", "12:34:56", "12:34:56.5", "12:34:56.123456", "24:00:00"],
    "timetz": ["12:00:00+00", "14:00:00+02", "12:00:00-05:30", "00:00:00+15", "10:00:00-02"],
    "timestamp": [
        *("infinity", "-infinity", "4713-01-01 00:00:00 BC", "0044-03-15 10:00:00 BC"),
        *("1999-12-31 23:59:59.999999", "2000-01-01 00:00:00", "294276-12-31 23:59:59.999999"),
        *("2026-11-29 12:00:00", "2026-11-29 12:00:00.5", "0001-01-01 00:00:00"),
    ],
    "timestamptz": [
        *("infinity", "-infinity", "4713-01-01 00:00:00+00 BC", "2026-11-29 12:00:00+00"),
        *("2026-07-01 12:00:00+02", "2026-03-29 00:59:59+00", "2026-03-29 01:00:00+00"),
        *("1800-01-01 00:00:00+00", "294276-12-31 23:59:59+00"),
    ],
    "interval": [
        *("0", "1 month", "30 days", "29 days 24:00:00.000001", "-1 year", "-3 days 04:05:06.789"),
        *(
            "1 year 2 mons -3 days -04:05:06",
            "178000000 years",
            "-178000000 years",
            "1 us",
            "-1 us",
        ),
    ],
}
"""Of every type whose order is promised."""
BY_TEXT = {"text"}
OPERATORS = {
    RowComparison.EQUALS: "=",
    RowComparison.NOT_EQUALS: "<>",
    RowComparison.LESS: "<",
    RowComparison.LESS_OR_EQUAL: "<=",
    RowComparison.GREATER: ">",
    RowComparison.GREATER_OR_EQUAL: ">=",
}


async def rows_of(desk: Desk, run: RunRow) -> list[list[Any]]:
    lines = await desk.server.results.rows(
        desk.owner, run.id, offset=0, first=100_000, max_bytes=10**9
    )
    return [json.loads(line) for line in lines]


async def query(desk: Desk, statement: str) -> tuple[RunRow, list[list[Any]]]:
    run = await desk.end_of(await desk.start(statement))
    assert run.parsed_error is None
    return run, await rows_of(desk, run)


def positions(request: OrderRequest, rows: Sequence[Sequence[Any]]) -> list[int]:
    order = RowOrder(request)
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    half = len(lines) // 2
    order.add(0, 0, b"".join(lines[:half]))
    order.add(1, 0, b"".join(lines[half:]))
    count, *places = places_of(b"".join(order.finish()))
    assert count.position == len(places)
    return [place.position for place in places]


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def table_of(kind: str) -> str:
    """Every value twice, and NULL, in a random order with their positions."""
    values: list[str | None] = [*VALUES[kind] * 2, None, None]
    random.Random(kind).shuffle(values)  # noqa: S311 - an order, not a secret
    texts = ("NULL" if value is None else quoted(value) for value in values)
    rows = ", ".join(f"({number}, ({text})::{kind})" for number, text in enumerate(texts))
    collation = ' COLLATE "C"' if kind in ("text", "bpchar") else ""
    return f"(SELECT p, v{collation} AS v FROM (VALUES {rows}) t (p, v))"


def test_every_type_with_an_order_has_values() -> None:
    assert len(VALUES) == len(KEY_TYPES) - 1 + len(BY_TEXT)  # without xid8, from PostgreSQL 13


async def test_sorted_and_filtered_rows_are_those_of_postgresql(desk: Desk) -> None:
    for kind in VALUES:
        table = table_of(kind)
        run, rows = await query(desk, f"SELECT * FROM {table} t ORDER BY p")
        oids = [column.type_oid for column in run.parsed_columns or ()]
        assert has_own_order(oids[1]) == (kind not in BY_TEXT)
        texts = sorted({text_of(row[1]) for row in rows if row[1] is not None})
        collation = ' COLLATE "C"' if kind in ("text", "bpchar") else ""
        wanted: dict[str, OrderRequest] = {}
        for descending, nulls_first in product((False, True), repeat=2):
            order = f"{'DESC' if descending else ''} NULLS {'FIRST' if nulls_first else 'LAST'}"
            request = OrderRequest(oids, [SortColumn(1, descending, nulls_first)])
            wanted[f"array_agg(p ORDER BY v {order}, p)"] = request
        for value in texts[:: max(1, len(texts) // 6)]:
            for comparison, operator in OPERATORS.items():
                test = f"v {operator} ({quoted(value)})::{kind}{collation}"
                request = OrderRequest(oids, [], [Condition(1, comparison, value)])
                wanted[f"array_agg(p ORDER BY p) FILTER (WHERE {test})"] = request
        columns = ", ".join(f"{column}::text" for column in wanted)
        _, [found] = await query(desk, f"SELECT {columns} FROM {table} t")
        for (column, request), expected in zip(wanted.items(), found, strict=True):
            numbers = [] if expected is None else json.loads("[" + expected[1:-1] + "]")
            assert positions(request, rows) == numbers, (kind, column)


RANDOM = {
    "numeric": "round(((random() - 0.5) * power(10, i % 12))::numeric, i % 9)",
    "float8": "(random() - 0.5) * power(10, i % 40)",
    "float4": "((random() - 0.5) * power(10, i % 30))::float4",
    "int8": "((random() - 0.5) * power(10, i % 18))::int8",
    "timestamp": "'1000-01-01'::timestamp + (random() - 0.5) * '6000 years'::interval",
    "timestamptz": "'1000-01-01'::timestamptz + (random() - 0.5) * '6000 years'::interval",
    "date": "'0100-01-01'::date + (random() * 100000 - 50000)::int",
    "interval": "make_interval(months => (random() * 40)::int - 20, "
    "days => (random() * 1200)::int - 600, secs => (random() - 0.5) * 1e6)",
    "text": "chr(90 + i % 9) || chr(1 + (random() * 55000)::int) || left('ab', i % 3) || "
    "chr(57400 + (random() * 70000)::int)",
    "uuid": "md5(random()::text)::uuid",
}


async def test_random_values_are_sorted_as_by_postgresql(desk: Desk) -> None:
    values = ", ".join(f"{expression} AS {kind}_v" for kind, expression in RANDOM.items())
    orders = {kind: f"{kind}_v" for kind in RANDOM} | {"text": 'text_v COLLATE "C"'}
    ranks = ", ".join(f"row_number() OVER (ORDER BY {one}, i)::int - 1" for one in orders.values())
    source = f"(SELECT i, {values} FROM generate_series(1, 2000) i) t"
    run, rows = await query(desk, f"SELECT t.*, {ranks} FROM {source} ORDER BY i")
    oids = [column.type_oid for column in run.parsed_columns or ()]
    for number, kind in enumerate(RANDOM, start=1):
        found = positions(OrderRequest(oids, [SortColumn(number, False, False)]), rows)
        expected = sorted(range(len(rows)), key=lambda at: rows[at][number + len(RANDOM)])
        assert found == expected, kind


def test_values_in_other_zones_and_styles_are_ordered() -> None:
    """The offsets of one result differ; styles that are not ISO are ordered by their text."""
    clocks: list[list[Any]] = [
        [0, "2026-10-25 02:30:00+02"],
        [1, "2026-10-25 02:00:00+01"],
        [2, "1890-01-01 00:53:28+00:53:28"],
    ]
    assert positions(OrderRequest([23, 1184], [SortColumn(1, False, True)]), clocks) == [2, 0, 1]
    styles: list[list[Any]] = [[0, "31/12/2024"], [1, "01/01/2025"], [2, "2024-06-01"]]
    assert positions(OrderRequest([23, 1082], [SortColumn(1, False, False)]), styles) == [2, 1, 0]


def test_several_columns_are_sorted_in_turn_and_ties_keep_their_order() -> None:
    rows: list[list[Any]] = [["b", 1], ["a", 2], ["ab", 1], ["a", 3], ["a", 2], [None, 5]]
    request = OrderRequest([25, 23], [SortColumn(0, False, False), SortColumn(1, True, False)])
    assert positions(request, rows) == [3, 1, 4, 2, 0, 5]


def test_keys_larger_than_memory_are_merged_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [[number * 7_919 % 20_011] for number in range(20_000)]
    request = OrderRequest([23], [SortColumn(0, True, True)])
    expected = positions(request, numbers)
    monkeypatch.setattr(row_order, "RUN_BYTES", 100_000)
    assert positions(request, numbers) == expected
    assert [numbers[at][0] for at in expected] == sorted((n for (n,) in numbers), reverse=True)


def test_text_conditions() -> None:
    rows: list[list[Any]] = [["Abc"], ["xabcx"], [None], ["ABC"], ["50%"]]

    def found(comparison: str, value: str, **more: bool) -> list[int]:
        return positions(OrderRequest([25], [], [Condition(0, comparison, value, **more)]), rows)

    assert found("CONTAINS", "abc") == [1]
    assert found("CONTAINS", "abc", ignore_case=True) == [0, 1, 3]
    assert found("STARTS_WITH", "A") == [0, 3]
    assert found("EQUALS", "abc", ignore_case=True) == [0, 3]
    assert found("NOT_EQUALS", "Abc") == [1, 3, 4]
    assert found("CONTAINS", "%") == [4]
    assert found("IS_NULL", "") == [2]
    assert found("IS_NOT_NULL", "") == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("oid", "text"),
    [
        *[
            (23, "x"),
            (23, "1.5"),
            (1700, "1e999999999"),
            (1082, "tomorrow"),
            (16, "2"),
            (2950, "a"),
        ],
        *[(23, "9" * 5_000), (700, "1e300"), (1186, "soon"), (1700, ""), (20, "9" * 30)],
    ],
)
def test_value_of_another_type_is_refused(oid: int, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its message is not used
        key_of_text(oid, text)


def test_numeric_of_any_length_has_an_exact_key() -> None:
    key = key_maker(1700)
    long = "9" * 131_072 + "." + "9" * 16_383
    assert key(long + "8") < key(long + "9") < key("Infinity")
    assert key("-" + long + "9") < key("-" + long + "8")
