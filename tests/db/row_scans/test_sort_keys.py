"""Sorted and filtered rows are those of PostgreSQL's ORDER BY and WHERE."""

import json
import random
from typing import Any

import pytest

from db.row_scans import row_order
from db.row_scans.conditions import Condition, RowComparison
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


def positions(request: OrderRequest, rows: list[list[Any]]) -> list[int]:
    order = RowOrder(request)
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    half = len(lines) // 2
    order.add(0, 0, b"".join(lines[:half]))
    order.add(1, 0, b"".join(lines[half:]))
    count, *places = places_of(b"".join(order.finish()))
    assert count.position == len(places)
    return [place.position for place in places]


def table_of(kind: str) -> str:
    """Every value twice, and NULL, in a random order with their positions."""
    values: list[str | None] = [*VALUES[kind] * 2, None, None]
    random.Random(kind).shuffle(values)  # noqa: S311 - an order, not a secret
    texts = (
        "NULL" if value is None else "E'" + value.encode("unicode_escape").decode() + "'"
        for value in values
    )
    rows = ", ".join(f"({number}, ({text})::{kind})" for number, text in enumerate(texts))
    collation = ' COLLATE "C"' if kind in ("text", "bpchar") else ""
    return f"(SELECT p, v{collation} AS v FROM (VALUES {rows}) t (p, v))"  # noqa: S608 - of this module


def test_every_type_with_an_order_has_values() -> None:
    assert len(VALUES) == len(KEY_TYPES) - 1 + len(BY_TEXT)  # without xid8, from PostgreSQL 13


@pytest.mark.parametrize("kind", VALUES)
async def test_sorted_rows_are_those_of_order_by(desk: Desk, kind: str) -> None:
    run, rows = await query(desk, f"SELECT * FROM {table_of(kind)} t ORDER BY p")
    oids = [column.type_oid for column in run.parsed_columns or ()]
    assert has_own_order(oids[1]) == (kind not in BY_TEXT)
    for descending in (False, True):
        for nulls_first in (False, True):
            sort = [SortColumn(1, descending, nulls_first)]
            _, expected = await query(
                desk,
                f"SELECT p FROM {table_of(kind)} t ORDER BY v {'DESC' if descending else 'ASC'} "
                f"NULLS {'FIRST' if nulls_first else 'LAST'}, p",
            )
            assert positions(OrderRequest(oids, sort), rows) == [row[0] for row in expected]


@pytest.mark.parametrize("kind", VALUES)
async def test_filtered_rows_are_those_of_where(desk: Desk, kind: str) -> None:
    run, rows = await query(desk, f"SELECT * FROM {table_of(kind)} t ORDER BY p")
    oids = [column.type_oid for column in run.parsed_columns or ()]
    collation = ' COLLATE "C"' if kind in ("text", "bpchar") else ""
    tests, wanted = [], []
    for value in sorted(VALUES[kind])[:6]:
        for comparison, operator in OPERATORS.items():
            literal = "E'" + value.encode("unicode_escape").decode() + "'"
            wanted.append(f"v {operator} ({literal})::{kind}{collation}")
            tests.append(Condition(1, comparison, value))
    columns = ", ".join(f"array_agg(p) FILTER (WHERE {test})::text" for test in wanted)
    _, [found] = await query(
        desk, f"SELECT {columns} FROM (SELECT * FROM {table_of(kind)} t ORDER BY p) t"
    )
    for condition, expected in zip(tests, found, strict=True):
        numbers = [] if expected is None else json.loads("[" + expected[1:-1] + "]")
        assert positions(OrderRequest(oids, [], [condition]), rows) == numbers, condition


async def test_values_in_other_zones_and_styles_are_ordered(desk: Desk) -> None:
    """The offsets of one result differ; styles that are not ISO are ordered by their text."""
    source = "(SELECT i AS p, '2026-10-25 00:00:00+00'::timestamptz + i * '30 min'::interval AS v"
    await desk.target.execute("CREATE ROLE zoned")
    run, rows = await query(
        desk,
        "SELECT p, v::text::timestamptz FROM "
        f"{source} FROM generate_series(0, 9) i) t, set_config('timezone', 'Europe/Berlin', true) "
        "ORDER BY p",
    )
    del run
    assert len({row[1][-3:] for row in rows}) >= 1
    assert positions(OrderRequest([23, 1184], [SortColumn(1, True, True)]), rows) == [
        *reversed(range(10))
    ]
    styles = [[0, "31/12/2024"], [1, "01/01/2025"], [2, "2024-06-01"]]
    assert positions(OrderRequest([23, 1082], [SortColumn(1, False, False)]), styles) == [2, 1, 0]


def test_several_columns_are_sorted_in_turn_and_ties_keep_their_order() -> None:
    rows = [["b", 1], ["a", 2], ["ab", 1], ["a", 3], ["a", 2], [None, 5]]
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
    rows = [["Abc"], ["xabcx"], [None], ["ABC"], ["50%"]]

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
    [(23, "x"), (23, "1.5"), (1700, "1e999999999"), (1082, "tomorrow"), (16, "2"), (2950, "a")]
    + [(23, "9" * 5_000), (700, "1e300"), (1186, "soon"), (1700, ""), (20, "9" * 30)],
)
def test_value_of_another_type_is_refused(oid: int, text: str) -> None:
    with pytest.raises(ValueError, match=""):
        key_of_text(oid, text)


def test_numeric_of_any_length_has_an_exact_key() -> None:
    key = key_maker(1700)
    long = "9" * 131_072 + "." + "9" * 16_383
    assert key(long + "8") < key(long + "9") < key("Infinity")
    assert key("-" + long + "9") < key("-" + long + "8")
