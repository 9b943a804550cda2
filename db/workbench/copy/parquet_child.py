"""Reads a Parquet file as rows of the text format of COPY. Runs as a process of its own.

A file can claim pages and values of any size, and arro3 aborts on some: here neither the memory nor
the life of the server is at stake. The parent answers requests for ranges of the file on the
standard input; frames go to the standard output. Imports only the standard library and arro3.
"""

import io
import json
import math
import os
import resource
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, NoReturn

RANGE, NAMES, ROWS, END, FAILED = b"R", b"N", b"D", b"Z", b"E"
HEADER = struct.Struct(">cI")
PLACE = struct.Struct(">QI")
SIZE = struct.Struct(">I")
BLOCK_BYTES = 512 * 1024
CACHED_BLOCKS = 64
PIECE_BYTES = 256 * 1024
BATCH_ROWS = 128
"""Values of the rows of a batch are in memory together."""


class Parent:
    """The process that started this one, at the other end of the pipes."""

    def __init__(self, questions: BinaryIO, answers: BinaryIO) -> None:
        self._questions = questions
        self._answers = answers

    def send(self, kind: bytes, content: bytes) -> None:
        self._questions.write(HEADER.pack(kind, len(content)) + content)
        self._questions.flush()

    def receive(self) -> bytes:
        (size,) = SIZE.unpack(self._read(SIZE.size))
        return self._read(size)

    def ask(self, start: int, size: int) -> bytes:
        """The bytes of a range; ends the process if the parent does not have them."""
        self.send(RANGE, PLACE.pack(start, size))
        return self._read(size)

    def _read(self, size: int) -> bytes:
        found = self._answers.read(size)
        if len(found) != size:
            sys.exit(1)  # the parent has stopped, or reports the error itself
        return found


class RangeFile(io.RawIOBase):
    """A file whose blocks the parent reads. Pages of several columns are read alternately."""

    def __init__(self, parent: Parent, size: int) -> None:
        self._parent = parent
        self._size = size
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, max(self._at, end)
        pieces = []
        while start < end:
            number, offset = divmod(start, BLOCK_BYTES)
            piece = self._block(number)[offset : offset + end - start]
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if (known := self._blocks.get(number)) is not None:
            self._blocks.move_to_end(number)
            return known
        start = number * BLOCK_BYTES
        block = self._parent.ask(start, min(BLOCK_BYTES, self._size - start))
        self._blocks[number] = block
        if len(self._blocks) > CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        return block


def main() -> None:
    parent = Parent(sys.stdout.buffer, sys.stdin.buffer)
    asked = json.loads(parent.receive())
    os.nice(5)  # the server that waits for the rows has other users
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
    sys.path[:] = asked["path"]
    try:
        _answer(parent, asked)
    except SystemExit:
        raise
    except MemoryError:
        _fail(parent, f"it needs more than {asked['memory']} bytes of memory to be read")
    except BaseException as error:  # noqa: BLE001 - arro3 panics with one of these
        _fail(parent, str(error).partition("\n")[0][:500] or type(error).__name__)


def _answer(parent: Parent, asked: Mapping[str, Any]) -> None:
    from arro3.io import read_parquet

    file: Any = RangeFile(parent, asked["size"])
    reader = read_parquet(file, batch_size=1)
    names = list(reader.schema.names)
    if asked["columns"] is None:
        parent.send(NAMES, json.dumps(names).encode())
        return
    file.seek(0)
    pending: list[bytes] = []
    size = 0
    for batch in read_parquet(file, batch_size=BATCH_ROWS):
        for line in _lines([batch.column(name).to_pylist() for name in asked["columns"]]):
            pending.append(line)
            size += len(line)
            if size >= PIECE_BYTES:
                parent.send(ROWS, b"".join(pending))
                pending, size = [], 0
    parent.send(ROWS, b"".join(pending))
    parent.send(END, b"")


def _lines(columns: Sequence[Sequence[Any]]) -> Iterable[bytes]:
    for row in zip(*columns, strict=True):
        yield b"\t".join(map(_cell, row)) + b"\n"


def _cell(value: Any) -> bytes:
    if value is None:
        return b"\\N"
    text = _TEXTS.get(type(value), str)(value).encode()
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    return text.replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_nested)


def _nested(value: Any) -> str:
    return _TEXTS.get(type(value), str)(value)


_TEXTS: Mapping[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: "true" if value else "false",
    float: _float,
    Decimal: lambda value: format(value, "f"),
    bytes: lambda value: "\\x" + value.hex(),
    datetime: lambda value: value.isoformat(sep=" "),
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: f"{value.days} days {value.seconds}.{value.microseconds:06} seconds",
    list: _json,
    dict: _json,
    tuple: _json,
}


def _fail(parent: Parent, reason: str) -> NoReturn:
    parent.send(FAILED, reason.encode())
    sys.exit(1)


if __name__ == "__main__":
    main()
