"""Encodes the rows of a result as CSV, JSON lines, Parquet or Arrow, or the bytes of a COPY."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from db.runs import Column
from db.workbench.results.arrow_stream import encode_arrow
from db.workbench.results.copied_bytes import raw_writer
from db.workbench.results.numbers import showing_cells
from db.workbench.results.parquet import encode_parquet
from db.workbench.results.record_batches import require_arro3


class ResultFormat(StrEnum):
    """The values are the extensions of the files."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrows"
    RAW = "raw"


CONTENT_TYPES: Mapping[str, str] = {
    ResultFormat.CSV: "text/csv; charset=utf-8; header=present",
    ResultFormat.JSONL: "application/jsonl",
    ResultFormat.PARQUET: "application/vnd.apache.parquet",
    ResultFormat.ARROW: "application/vnd.apache.arrow.stream",
    ResultFormat.RAW: "application/octet-stream",
}

# A spreadsheet takes a cell that begins so as a formula, which can run programs or send data away.
_FORMULA_MARKS = frozenset("=+-@\t\r")
_is_number = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|-?Infinity").fullmatch

END_MARK = "\\."
"""Ends the data of COPY before PostgreSQL 18, if it is a line of CSV."""

_decode = msgspec.json.Decoder(list[Any]).decode
_encode = msgspec.json.Encoder().encode


def require_format(format: str) -> None:
    """Raises Unavailable if this server cannot write the format."""
    if format in (ResultFormat.PARQUET, ResultFormat.ARROW):
        require_arro3("Parquet" if format == ResultFormat.PARQUET else "Arrow")


def encode_rows(
    format: str,
    columns: Sequence[Column],
    batches: AsyncIterator[list[bytes]],
    *,
    group_rows: int,
    spreadsheet_safe: bool = True,
) -> AsyncGenerator[bytes]:
    """Yields the file in pieces.

    Each row is a JSON array. `group_rows` is the size of a row group in Parquet.
    `spreadsheet_safe` puts an apostrophe before CSV cells that a spreadsheet takes as a formula.
    """
    names = [column.name for column in columns]
    if format == ResultFormat.CSV:
        cell = _safe_csv_cell if spreadsheet_safe else _csv_cell
        return _encode_lines(_csv_writer(cell), batches, head=_csv_line(names, cell))
    if format == ResultFormat.JSONL:
        return _encode_lines(_jsonl_writer(unique_names(names), columns), batches)
    if format == ResultFormat.RAW:
        return _encode_lines(raw_writer(columns), batches)
    oids = [column.type_oid for column in columns]
    if format == ResultFormat.ARROW:
        return encode_arrow(unique_names(names), oids, batches)
    return encode_parquet(unique_names(names), oids, batches, group_rows=group_rows)


async def _encode_lines(
    write: Callable[[Iterable[bytes]], bytes],
    batches: AsyncIterator[list[bytes]],
    *,
    head: bytes = b"",
) -> AsyncGenerator[bytes]:
    """Yields a piece for each batch, encoded in a thread to keep the event loop responsive.

    The head is sent with the first batch, so that an error before it can still be reported.
    """
    async for lines in batches:
        yield head + await asyncio.to_thread(write, lines)
        head = b""
    if head:
        yield head


def _csv_writer(cell: Callable[[Any], str]) -> Callable[[Iterable[bytes]], bytes]:
    return lambda lines: b"".join(_csv_line(_decode(line), cell) for line in lines)


def _csv_line(values: Iterable[Any], cell: Callable[[Any], str]) -> bytes:
    return (",".join(map(cell, values)) + "\r\n").encode()


def _safe_csv_cell(value: Any) -> str:
    """Numbers stay as they are: the text of a numeric may begin with a sign."""
    if isinstance(value, str) and value and value[0] in _FORMULA_MARKS and not _is_number(value):
        return _csv_cell("'" + value)
    return _csv_cell(value)


def _csv_cell(value: Any) -> str:
    """RFC 4180. NULL is an empty cell; an empty string is a pair of quotes."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            quoted = not value or value == END_MARK or any(mark in value for mark in ',"\r\n')
            return '"' + value.replace('"', '""') + '"' if quoted else value
        case _:
            return str(value)


def _jsonl_writer(
    names: Sequence[str], columns: Sequence[Column]
) -> Callable[[Iterable[bytes]], bytes]:
    """Copies the encoded values without decoding them."""
    keys = [_encode(name) + b":" for name in names]
    cells_of = showing_cells(columns)

    def line(row: bytes) -> bytes:
        values = zip(keys, cells_of(row), strict=True)
        return b"{" + b",".join(key + value for key, value in values) + b"}\n"

    return lambda lines: b"".join(map(line, lines))


def unique_names(names: Sequence[str]) -> list[str]:
    """Appends numbers to repeated column names."""
    seen: Counter[str] = Counter()
    taken = set(names)
    found = []
    for name in names:
        seen[name] += 1
        new = name if seen[name] == 1 else f"{name}_{seen[name]}"
        while seen[name] > 1 and new in taken:
            seen[name] += 1
            new = f"{name}_{seen[name]}"
        taken.add(new)
        found.append(new)
    return found


class NumberedColumn(Column, frozen=True):
    """A column with the name that sorting, filters and files use for it."""

    unique_name: str = ""


def number_columns(columns: Sequence[Column]) -> list[NumberedColumn]:
    names = unique_names([column.name for column in columns])
    return [
        NumberedColumn(**msgspec.structs.asdict(column), unique_name=name)
        for column, name in zip(columns, names, strict=True)
    ]
