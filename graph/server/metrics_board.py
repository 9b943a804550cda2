"""Shared memory of the processes of one server: one writer per page, readable by all."""

import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from zlib import crc32

COPY_BYTES = 128 * 1024
_HEAD = struct.Struct("<QII")  # write count, length, checksum
_READ_ATTEMPTS = 100  # a read fails if two writes overtake it


class Board:
    """Shared memory in which each process writes only its own page.

    A page has two copies, written alternately. Readers need no lock: a writer, even one that is
    killed while writing, leaves the previous copy intact.
    """

    def __init__(self, descriptor: int, *, own: int) -> None:
        self.descriptor = descriptor
        self._own = own
        self._memory = mmap.mmap(descriptor, 0)

    @classmethod
    def make(cls, pages: int) -> "Board":
        """Make a board and own its first page. The memory is freed with the last process."""
        with tempfile.TemporaryFile() as file:
            file.truncate(pages * 2 * COPY_BYTES)
            return cls(os.dup(file.fileno()), own=0)  # lives as long as the process

    def write(self, text: bytes) -> None:
        """Replace the content of the own page.

        Raises:
            ValueError: the text is larger than a copy.
        """
        if len(text) > COPY_BYTES - _HEAD.size:
            raise ValueError(f"{len(text):,} bytes do not fit in a page of the board")
        number = self._latest(self._own)[0] + 1
        start = _start(self._own, number)
        head = _HEAD.pack(number, len(text), _checksum(number, text))
        self._memory[start : start + _HEAD.size + len(text)] = head + text

    def read(self) -> bytes:
        """The content of the own page, perhaps from a predecessor. Empty if never written."""
        return self._latest(self._own)[1]

    def read_first(self) -> bytes:
        """The content of the page of the process that made the board."""
        return self._latest(0)[1]

    def read_others(self) -> Iterator[bytes]:
        """The non-empty contents of all other pages."""
        for page in range(len(self._memory) // (2 * COPY_BYTES)):
            if page != self._own and (text := self._latest(page)[1]):
                yield text

    def _latest(self, page: int) -> tuple[int, bytes]:
        """The write count and text of the newer intact copy."""
        for _ in range(_READ_ATTEMPTS):
            found = [copy for half in (0, 1) if (copy := self._copy(page, half))]
            if found:
                return max(found)
        return 0, b""

    def _copy(self, page: int, half: int) -> tuple[int, bytes] | None:
        """Returns None if the copy is being written, or its writer was killed."""
        start = _start(page, half)
        number, length, checksum = _HEAD.unpack_from(self._memory, start)
        text = self._memory[start + _HEAD.size : start + min(_HEAD.size + length, COPY_BYTES)]
        return (number, text) if checksum == _checksum(number, text) else None


def _start(page: int, number: int) -> int:
    return (2 * page + number % 2) * COPY_BYTES


def _checksum(number: int, text: bytes) -> int:
    return crc32(text, number & 0xFFFF_FFFF)
