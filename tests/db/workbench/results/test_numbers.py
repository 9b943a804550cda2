"""Floats are stored as text and shown as numbers."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.row_scans.type_oids import FLOAT4, FLOAT8
from db.runs import Column
from db.workbench.results.numbers import number_of, showing_numbers

TEXT = 25
COLUMNS = [Column("t", "text", TEXT), Column("f", "float8", FLOAT8), Column("g", "float4", FLOAT4)]


def shown(*row: Any) -> Any:
    show = showing_numbers(COLUMNS)
    assert show is not None
    return msgspec.json.decode(show(msgspec.json.encode(row)))


@given(text=st.text(), number=st.floats(allow_nan=False, allow_infinity=False))
def test_number_is_shown_without_loss(text: str, number: float) -> None:
    for written in (repr(number), f"{number:.17g}"):
        found = shown(text, written, None)
        assert repr(found) == repr([text, number, None])
        assert repr(number_of(written, FLOAT8)) == repr(number)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "",
        "1,2",
        "01",
        "+1",
        "1.",
        ".5",
        "0x1",
        '"',
        "1\n",
        "\u0661",
    ],
)
def test_what_is_no_number_of_json_stays_text(text: str) -> None:
    """A hostile server may send anything."""
    assert shown("", text, text) == ["", text, text]
    assert number_of(text, FLOAT8) == text


def test_number_that_is_too_large_stays_text() -> None:
    """JSON has no infinity: readers make an error, null or a large number of it."""
    assert number_of("-1e999", FLOAT8) == "-1e999"
    assert shown("", "-1e999", "1" * 400) == ["", "-1e999", "1" * 400]
    assert number_of("1e308", FLOAT8) == 1e308


def test_other_rows_are_shown_as_they_are() -> None:
    assert showing_numbers(COLUMNS[:1]) is None
    assert number_of("1.5", TEXT) == "1.5"
