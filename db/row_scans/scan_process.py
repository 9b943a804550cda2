"""Scans the rows of a large result in a process of its own.

Neither the memory nor the event loop of the server is at stake there. The parent writes a request
and then the rows to the standard input; the process answers on its standard output when it has read
them all.
"""

import os
import resource
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, TypeAlias

import msgspec

from db.row_scans.column_statistics import ColumnStatistics, StatisticsRequest
from db.row_scans.row_order import OrderRequest, RowOrder

ScanRequest: TypeAlias = OrderRequest | StatisticsRequest

SIZE = struct.Struct(">I")
ROWS = struct.Struct(">III")
"""A page, an offset in it, and the number of bytes of the lines that follow; 0 after the last."""
OUT_OF_MEMORY = 3
"""The status of the process that ends for it."""
NICENESS = 5


def start_scan(request: ScanRequest) -> RowOrder | ColumnStatistics:
    """Returns what all rows are given to."""
    return RowOrder(request) if isinstance(request, OrderRequest) else ColumnStatistics(request)


def answer_of(scanned: RowOrder | ColumnStatistics) -> Iterator[bytes]:
    """The places of rows, or the statistics as JSON."""
    if isinstance(scanned, RowOrder):
        yield from scanned.finish()
    else:
        yield msgspec.json.encode(scanned.result())


def main() -> None:
    source, target = sys.stdin.buffer, sys.stdout.buffer
    os.nice(NICENESS)  # the server has other users
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        scanned = start_scan(msgspec.json.decode(_read(source, _size(source)), type=ScanRequest))
        while (head := ROWS.unpack(_read(source, ROWS.size)))[2]:
            page, offset, size = head
            scanned.add(page, offset, _read(source, size))
        for piece in answer_of(scanned):
            target.write(piece)
        target.flush()
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _size(source: BinaryIO) -> int:
    (size,) = SIZE.unpack(_read(source, SIZE.size))
    return int(size)


def _read(source: BinaryIO, size: int) -> bytes:
    found = source.read(size)
    if len(found) != size:
        sys.exit(1)  # the parent has stopped
    return found


if __name__ == "__main__":
    main()
