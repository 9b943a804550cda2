"""CSV files: their header, and the marks in them that PostgreSQL would take as their end."""

import csv
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from db.errors import BadInput
from db.workbench.copy.copy_failures import BadSourceLine

BOM = b"\xef\xbb\xbf"
_END_MARK = re.compile(rb"[\r\n]\\\.(?=[\r\n])")
_HELD = 3
"""Bytes held back until the next piece, in which a mark may end."""


def header_of(head: bytes, delimiter: str) -> Sequence[str]:
    """The names in the first line; `head` is the start of the file.

    Raises:
        BadInput: It is not the header of a CSV file in UTF-8.
    """
    record = head.removeprefix(BOM)[: _end_of_record(head.removeprefix(BOM))]
    try:
        names = next(
            csv.reader(io.StringIO(record.decode(), newline=""), delimiter=delimiter, strict=True),
            [],
        )
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            "The first line of the file is not the header of a CSV file in UTF-8.",
            hint="Check the encoding and the quotes, and pass `header: false` if it has none.",
            field="fileId",
        ) from error
    return names


async def without_end_marks(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    r"""The pieces without the byte order mark.

    Raises:
        BadSourceLine: A line is `\.`: before version 18, PostgreSQL ignores everything after it.
    """
    lines, held, is_first = _Lines(), b"", True
    async for piece in pieces:
        window = held + (piece.removeprefix(BOM) if is_first else piece)
        body, held, is_first = window[:-_HELD], window[-_HELD:], False
        lines.check(body, window)
        yield body
    lines.check(held, held + b"\n")
    yield held


class _Lines:
    """The position at the start of the next piece: its line, and whether a quote is open."""

    def __init__(self) -> None:
        self._number = 1
        self._is_quoted = False
        self._last = b"\n"

    def check(self, body: bytes, window: bytes) -> None:
        """Looks for marks that begin in `body`; `window` also has the bytes after it."""
        at = 0
        for found in _END_MARK.finditer(self._last + window):
            if found.start() >= len(body):
                break
            self._skip(body, at, found.start())
            at = found.start()
            if not self._is_quoted:
                raise _end_mark(self._number)
        self._skip(body, at, len(body))
        self._last = body[-1:] or self._last

    def _skip(self, body: bytes, start: int, end: int) -> None:
        self._is_quoted ^= bool(body.count(b'"', start, end) & 1)
        self._number += body.count(b"\n", start, end)


def _end_mark(line: int) -> BadSourceLine:
    return BadSourceLine(
        f"Line {line} of the file is `\\.`, which ends the data of a COPY.",
        line=line,
        hint='Quote it: "\\."',
    )


def _end_of_record(text: bytes) -> int:
    """The index after the first record, whose quoted names may contain line breaks."""
    is_quoted = False
    for found in re.finditer(rb'["\r\n]', text):
        if found.group() == b'"':
            is_quoted = not is_quoted
        elif not is_quoted:
            return found.start()
    return len(text)
