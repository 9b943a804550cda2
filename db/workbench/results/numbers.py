"""Floats of stored rows as JSON numbers.

They are stored as PostgreSQL's text (`value_conversion`), because most rows are never read.
"""

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
"""Of JSON: NaN and the infinities stay text."""
_is_number = re.compile(_NUMBER).fullmatch
_quoted_number = re.compile(f'"{_NUMBER}"'.encode()).fullmatch


def number_of(cell: Any, oid: int) -> Any:
    """A loaded cell of this type, as clients see it."""
    is_number = oid in FLOATS and isinstance(cell, str) and _is_number(cell)
    return float(cell) if is_number else cell


def showing_numbers(columns: Sequence[Column]) -> Show | None:
    """None if the stored lines of such rows are those that clients see."""
    floats = [index for index, column in enumerate(columns) if column.type_oid in FLOATS]
    if not floats:
        return None

    def show(line: bytes) -> bytes:
        cells = [bytes(cell) for cell in _decode(line)]
        for index in floats:
            if (found := _quoted_number(cells[index])) is not None:
                whole, fraction = found.groups()
                cells[index] = whole + (fraction or b".0")  # -0 would be read as the integer 0
        return b"[" + b",".join(cells) + b"]"

    return show
