"""Finds the rows that satisfy conditions, and their order, in bounded memory."""

import contextlib
import heapq
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple, TypeAlias

import msgspec

from db.row_scans.conditions import Condition, Test, compile_condition
from db.row_scans.line_decoder import LineDecoder
from db.row_scans.sort_keys import MakeKey, invert, key_maker

RUN_BYTES = 48 * 1024 * 1024
"""Keys of this size are sorted in memory; more are sorted in parts that are merged from files."""
ENTRY_BYTES = 41
"""What Python needs for a key besides its bytes."""
PLACE = struct.Struct("<IIII")
"""A row: its position in the result, its page, and its offset and size there."""
PIECE_ROWS = 4_096
_SIZE = struct.Struct("<I")
_NULL_FIRST, _VALUE, _NULL_LAST = b"\x00", b"\x01", b"\x02"

Entry: TypeAlias = bytes
"""The key of a row, followed by its number among the matching rows."""


class SortColumn(msgspec.Struct, frozen=True):
    column: int
    descending: bool
    nulls_first: bool


class RowPlace(NamedTuple):
    position: int
    page: int
    offset: int
    size: int


class OrderRequest(msgspec.Struct, frozen=True, tag="order"):
    """`oids` are the types of all columns of the result."""

    oids: list[int]
    sort: list[SortColumn] = []
    conditions: list[Condition] = []


def places_of(records: bytes) -> list[RowPlace]:
    return [RowPlace(*fields) for fields in PLACE.iter_unpack(records)]


class RowOrder:
    """Give it all rows of a result in their order, then take the places of the matching ones."""

    def __init__(self, request: OrderRequest) -> None:
        self._sort = [_sort_key(one, request.oids[one.column]) for one in request.sort]
        self._tests: list[tuple[int, Test]] = [
            (one.column, compile_condition(one, request.oids[one.column]))
            for one in request.conditions
        ]
        needed = {one.column for one in request.sort}
        needed |= {one.column for one in request.conditions}
        self._decoder = LineDecoder(len(request.oids), needed)
        self._position = 0
        self._places = array("I")
        self._entries: list[Entry] = []
        self._bytes = 0
        self._parts: list[IO[bytes]] = []

    def add(self, page: int, offset: int, lines: bytes) -> None:
        """Adds consecutive rows, which begin at `offset` of the page."""
        rows = self._decoder.decode(lines)
        for row, line in zip(rows, lines.split(b"\n"), strict=False):
            if all(test(row[column]) for column, test in self._tests):
                if self._sort:
                    self._add_entry(row)
                self._places.extend((self._position, page, offset, len(line)))
            self._position += 1
            offset += len(line) + 1

    def _add_entry(self, row: Sequence[Any]) -> None:
        number = len(self._places) // 4
        entry = b"".join([key(row) for key in self._sort]) + number.to_bytes(4, "big")
        self._entries.append(entry)
        self._bytes += len(entry) + ENTRY_BYTES
        if self._bytes >= RUN_BYTES:
            self._spill()

    def finish(self) -> Iterator[bytes]:
        """Yields the number of rows as a place, then their places, in pieces."""
        yield PLACE.pack(len(self._places) // 4, 0, 0, 0)
        if not self._sort:
            numbers: Iterable[int] = range(len(self._places) // 4)
        elif self._parts:
            self._spill()
            yield from self._merged()
            return
        else:
            self._entries.sort()
            numbers = map(_number_of, self._entries)
        yield from self._pieces(numbers)

    def _merged(self) -> Iterator[bytes]:
        with contextlib.ExitStack() as opened:
            parts = [_entries_of(opened.enter_context(part)) for part in self._parts]
            yield from self._pieces(map(_number_of, heapq.merge(*parts)))

    def _pieces(self, numbers: Iterable[int]) -> Iterator[bytes]:
        places, piece = self._places, bytearray()
        for count, number in enumerate(numbers, start=1):
            piece += PLACE.pack(*places[4 * number : 4 * number + 4])
            if count % PIECE_ROWS == 0:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)

    def _spill(self) -> None:
        self._entries.sort()
        part = TemporaryFile()  # noqa: SIM115 - closed when it is merged
        for entry in self._entries:
            part.write(_SIZE.pack(len(entry)) + entry)
        part.seek(0)
        self._parts.append(part)
        self._entries, self._bytes = [], 0


def _sort_key(sort: SortColumn, type_oid: int) -> MakeKey:
    """Returns what makes the part of a row's key for one column."""
    column, make = sort.column, key_maker(type_oid)
    null = _NULL_FIRST if sort.nulls_first else _NULL_LAST

    def key(row: Sequence[Any]) -> bytes:
        value = row[column]
        if value is None:
            return null
        made = make(value)
        return _VALUE + (invert(made) if sort.descending else made)

    return key


def _number_of(entry: Entry) -> int:
    return int.from_bytes(entry[-4:], "big")


def _entries_of(part: IO[bytes]) -> Iterator[Entry]:
    while size := part.read(_SIZE.size):
        yield part.read(_SIZE.unpack(size)[0])
