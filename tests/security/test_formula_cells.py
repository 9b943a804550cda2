"""CSV cells that a spreadsheet would run as a formula."""

import json
from collections.abc import AsyncIterator, Sequence

import pytest

from db.runs import Column
from db.workbench.results.formats import ResultFormat, encode_rows

FORMULAS = ["=1+1", "+SUM(A1)", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-1 days", '=HYPERLINK("x")']
HARMLESS = ["-1.50", "+3", "-1e5", "-Infinity", "plain", "a=b", "", "'", "."]


async def rows(values: Sequence[object]) -> AsyncIterator[list[bytes]]:
    yield [json.dumps([value]).encode() for value in values]


async def csv_of(values: Sequence[object], *, name: str = "a", safe: bool = True) -> list[str]:
    columns = [Column(name=name, type="text", type_oid=25)]
    pieces = encode_rows(
        ResultFormat.CSV, columns, rows(values), group_rows=1, spreadsheet_safe=safe
    )
    text = b"".join([piece async for piece in pieces]).decode()
    return text.removesuffix("\r\n").split("\r\n")


def quoted(value: str) -> str:
    needs_quotes = not value or any(mark in value for mark in ',"\r\n')
    return '"' + value.replace('"', '""') + '"' if needs_quotes else value


@pytest.mark.parametrize("value", FORMULAS)
async def test_formula_gets_an_apostrophe(value: str) -> None:
    assert (await csv_of([value]))[1] == quoted("'" + value)
    assert (await csv_of([], name=value))[0] == quoted("'" + value)
    assert (await csv_of([value], safe=False))[1] == quoted(value)


async def test_other_values_are_unchanged() -> None:
    values = [*HARMLESS, -1, 2.5, True, None]
    assert await csv_of(values) == await csv_of(values, safe=False)
