"""What the processes of one server tell each other: a page for each, which all may read."""

import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from zlib import crc32

COPY_BYTES = 128 * 1024
_HEAD = struct.Struct("<QII")  # how often the page was written, how long the text is, its checksum
_READ_ATTEMPTS = 100  # a reader that is slower than two writers in a row looks again


class Board:
    """Memory that processes share; each writes its own page only.

    A page holds two copies, written in turn. So readers need no lock: whoever writes, or is killed
    in the middle of it, leaves the copy before whole.
    """

    def __init__(self, descriptor: int, *, own: int) -> None:
        self.descriptor = descriptor
        self._own = own
        self._memory = mmap.mmap(descriptor, 0)

    @classmethod
    def make(cls, pages: int) -> "Board":
        """A new one, whose first page is ours. It has no name, and ends with its last process."""
        with tempfile.TemporaryFile() as file:
            file.truncate(pages * 2 * COPY_BYTES)
            return cls(os.dup(file.fileno()), own=0)  # lives as long as the process

    def write(self, text: bytes) -> None:
        """Put this in the place of what our page says."""
        if len(text) > COPY_BYTES - _HEAD.size:
            raise ValueError(f"{len(text):,} bytes are no note for a board")
        number = self._latest(self._own)[0] + 1
        start = _start(self._own, number)
        head = _HEAD.pack(number, len(text), _checksum(number, text))
        self._memory[start : start + _HEAD.size + len(text)] = head + text

    def read(self) -> bytes:
        """What our page says, perhaps by a process that had it before us; empty when nothing."""
        return self._latest(self._own)[1]

    def read_first(self) -> bytes:
        """What the process says that made the board."""
        return self._latest(0)[1]

    def read_others(self) -> Iterator[bytes]:
        """What all the others have said last."""
        for page in range(len(self._memory) // (2 * COPY_BYTES)):
            if page != self._own and (text := self._latest(page)[1]):
                yield text

    def _latest(self, page: int) -> tuple[int, bytes]:
        """The number and the text of the newer copy that is whole."""
        for _ in range(_READ_ATTEMPTS):
            found = [copy for half in (0, 1) if (copy := self._copy(page, half))]
            if found:
                return max(found)
        return 0, b""

    def _copy(self, page: int, half: int) -> tuple[int, bytes] | None:
        """None while it is written, and for ever when that was interrupted."""
        start = _start(page, half)
        number, length, checksum = _HEAD.unpack_from(self._memory, start)
        text = self._memory[start + _HEAD.size : start + min(_HEAD.size + length, COPY_BYTES)]
        return (number, text) if checksum == _checksum(number, text) else None


def _start(page: int, number: int) -> int:
    return (2 * page + number % 2) * COPY_BYTES


def _checksum(number: int, text: bytes) -> int:
    return crc32(text, number & 0xFFFF_FFFF)
