"""Large cells: cut in pages of rows, whole one at a time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from db.kit.base import OwnerId
from db.row_scans.row_order import RowPlace
from db.runs import Column
from db.workbench.results.numbers import Show
from db.workbench.results.result_store import SPAN_BYTES, ResultStore

BYTEA = 17
MAX_READ_BYTES = 64 * 1024 * 1024
"""What is read for one page of cut rows. More makes the page shorter."""
NO_THREAD_BYTES = 64 * 1024
"""Rows of this size are split and cut without a thread."""

_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


CutLine: TypeAlias = tuple[bytes, list[tuple[int, int]]]
"""A row whose long texts are cut, and the columns and sizes of those."""


class CutCell(NamedTuple):
    """A cell that a page shows in part; `row` is its position in the result."""

    row: int
    column: int
    size_bytes: int


class RowSlice(NamedTuple):
    """Rows, each a JSON list, with their positions in the result."""

    lines: list[bytes]
    positions: list[int]
    cut_cells: list[CutCell]


async def rows_between(
    results: ResultStore, owner: OwnerId, run_id: UUID, start: int, end: int
) -> AsyncGenerator[list[tuple[int, bytes]]]:
    """Yields rows with their positions, a span of a page at a time."""
    async for span in results.spans(owner, run_id, start, end):
        lines = (
            span.lines.splitlines()
            if len(span.lines) <= NO_THREAD_BYTES
            else await asyncio.to_thread(span.lines.splitlines)
        )
        numbered = enumerate(lines, start=span.first_row)
        yield [(number, line) for number, line in numbered if start <= number < end]


async def rows_at(
    results: ResultStore, owner: OwnerId, run_id: UUID, places: Sequence[RowPlace]
) -> AsyncGenerator[list[tuple[int, bytes]]]:
    """Yields rows with their positions in the order of `places`, a few MiB at a time."""
    batch: list[RowPlace] = []
    size = 0
    for place in places:
        size += place.size
        if batch and size > SPAN_BYTES:
            yield await _read(results, owner, run_id, batch)
            batch, size = [], place.size
        batch.append(place)
    if batch:
        yield await _read(results, owner, run_id, batch)


async def _read(
    results: ResultStore, owner: OwnerId, run_id: UUID, places: Sequence[RowPlace]
) -> list[tuple[int, bytes]]:
    lines = await results.lines_at(owner, run_id, places)
    return [(place.position, line) for place, line in zip(places, lines, strict=True)]


async def collect_rows(
    batches: AsyncIterator[list[tuple[int, bytes]]],
    *,
    max_bytes: int,
    show: Show | None,
    max_cell: int | None,
) -> RowSlice:
    """The first rows that take at most `max_bytes` when cut, at least one if there is one."""
    found, size, read = RowSlice([], [], []), 0, 0
    async for batch in batches:
        lines = [line for _, line in batch]
        total = sum(map(len, lines))
        if total <= NO_THREAD_BYTES:
            cut = _cut_lines(lines, show, max_cell)
        else:
            cut = await asyncio.to_thread(_cut_lines, lines, show, max_cell)
        for (position, _), (line, cells) in zip(batch, cut, strict=True):
            size += len(line)
            if size > max_bytes and found.lines:
                return found
            found.lines.append(line)
            found.positions.append(position)
            found.cut_cells.extend(CutCell(position, column, size) for column, size in cells)
        read += total
        if read >= MAX_READ_BYTES:
            return found
    return found


def _cut_lines(lines: Iterable[bytes], show: Show | None, max_cell: int | None) -> list[CutLine]:
    if show is not None:
        lines = map(show, lines)
    if max_cell is None:
        return [(line, []) for line in lines]
    return [cut_line(line, max_cell) for line in lines]


def cut_line(line: bytes, max_cell: int) -> CutLine:
    """Cuts each text to `max_cell` bytes of UTF-8."""
    if len(line) <= max_cell:
        return line, []
    cells: list[bytes] = []
    cut: list[tuple[int, int]] = []
    for column, raw in enumerate(_decode_raw(line)):
        cell = bytes(raw)
        if len(cell) > max_cell and cell.startswith(b'"'):
            text = _decode_text(cell).encode("utf-8", "surrogatepass")
            if len(text) > max_cell:
                cut.append((column, len(text)))
                cell = _encode(text[:max_cell].decode(errors="ignore"))
        cells.append(cell)
    return (b"[" + b",".join(cells) + b"]", cut) if cut else (line, [])


async def read_cell(
    results: ResultStore, owner: OwnerId, run_id: UUID, *, row: int, column: int
) -> bytes | None:
    """The text of a cell in UTF-8, as the row shows it; None for NULL and for a missing row."""
    async with contextlib.aclosing(rows_between(results, owner, run_id, row, row + 1)) as batches:
        async for batch in batches:
            for _, line in batch:
                return await asyncio.to_thread(_cell_of, line, column)
    return None


def _cell_of(line: bytes, column: int) -> bytes | None:
    raw = bytes(_decode_raw(line)[column])
    if raw == b"null":
        return None
    return _decode_text(raw).encode() if raw.startswith(b'"') else raw


def is_bytes(column: Column) -> bool:
    return column.type_oid == BYTEA


def content_of_cell(column: Column, text: bytes) -> bytes:
    """The content of the file of a cell: the bytes of a bytea, or the text.

    The text of a bytea may be that of `bytea_output = escape`, or anything of a hostile server.
    """
    if is_bytes(column) and text.startswith(b"\\x"):
        with contextlib.suppress(ValueError):
            return bytes.fromhex(text[2 : len(text) - len(text) % 2].decode())
    return text
