"""Floats of stored rows as JSON numbers.

They are stored as PostgreSQL's text (`value_conversion`), because most rows are never read.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from db.row_scans.type_oids import FLOATS
from db.runs import Column

Show = Callable[[bytes], bytes]
"""Makes the line of a row that clients see from the stored one."""

_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NUMBER = r"(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
"""A number of JSON. NaN, the infinities and what a double cannot represent stay text."""
FINITE_DIGITS = 300
"""A number with no more digits before its point, and no exponent, is finite."""
_is_number = re.compile(_NUMBER).fullmatch
_quoted_number = re.compile(f'"{_NUMBER}"'.encode()).fullmatch


def number_of(cell: Any, oid: int) -> Any:
    """A loaded cell of this type, as clients see it."""
    if oid not in FLOATS or not isinstance(cell, str) or not _is_number(cell):
        return cell
    number = float(cell)
    return number if math.isfinite(number) else cell


def showing_numbers(columns: Sequence[Column]) -> Show | None:
    """None if the stored lines of such rows are those that clients see."""
    if not any(column.type_oid in FLOATS for column in columns):
        return None
    cells_of = showing_cells(columns)
    return lambda line: b"[" + b",".join(cells_of(line)) + b"]"


def showing_cells(columns: Sequence[Column]) -> Callable[[bytes], list[bytes]]:
    """Makes the cells of a row that clients see, as JSON, from the stored line."""
    floats = [index for index, column in enumerate(columns) if column.type_oid in FLOATS]

    def cells_of(line: bytes) -> list[bytes]:
        cells = [bytes(cell) for cell in _decode(line)]
        for index in floats:
            if (found := _quoted_number(cells[index])) is None:
                continue
            whole, fraction = found.groups()
            if (b"e" in fraction or len(whole) > FINITE_DIGITS) and _is_infinite(cells[index]):
                continue
            cells[index] = whole + (fraction or b".0")  # -0 would be read as the integer 0
        return cells

    return cells_of


def _is_infinite(quoted: bytes) -> bool:
    return math.isinf(float(quoted[1:-1]))
