"""JSON lines as rows of the text format of COPY."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import msgspec

from db.errors import BadInput
from db.workbench.copy.copy_failures import BadSourceLine
from db.workbench.copy.csv_lines import BOM
from db.workbench.copy.import_request import ImportSource, check_columns

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_VALUES = 10_000
"""Values of a line: each takes 100 bytes of memory, and a table has at most 1,600 columns."""
MAX_DEPTH = 2_000
"""The decoder refuses values that are nested half as deep."""
NULL = b"\\N"

_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_STRING = rb'"(?:[^"\\]++|\\[\s\S])*+"?'
_FLAT = rb'[\[{](?:[^\[{\]}"]++|' + _STRING + rb")*+[\]}]"
_MARK = re.compile(rb"|".join((_STRING, _FLAT, rb"[\[{\]},]")))
"""A string, also one without an end, a value without nested ones, or what divides values."""
_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))


def names_of(line: bytes) -> list[str] | int:
    """The names of the object in the first line, or the number of values of the array.

    Raises:
        BadInput: The line is neither.
    """
    text = line.removeprefix(BOM).strip()
    if has_too_many_values(text):
        raise BadInput(
            f"The first line of the file has more than {MAX_VALUES} values.",
            hint="Pass a file with one JSON object a line, or choose another format.",
            field="fileId",
        )
    try:
        if text.startswith(b"["):
            return len(_decode_array(text))
        names = list(_decode_object(text))
    except _ERRORS as error:
        raise BadInput(
            f"The first line of the file is not a JSON object or array: {error}.",
            hint="Pass a file with one JSON object a line, or choose another format.",
            field="fileId",
        ) from error
    check_columns(names, field="fileId")
    return names


def has_too_many_values(line: bytes) -> bool:
    """Whether the object or array of a line has more than `MAX_VALUES`, without decoding it."""
    if line.count(b",") < MAX_VALUES:
        return False
    depth, values = 0, 1
    for found in _MARK.finditer(line.lstrip(), 1):  # after the bracket of the line itself
        mark = found[0]
        if mark == b",":
            values += depth == 0
            if values > MAX_VALUES:
                return True
        elif mark in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return False  # it cannot be decoded
        elif mark in b"]}":
            depth -= 1
    return False


def escape(text: bytes) -> bytes:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


async def copied_lines(pieces: AsyncIterator[bytes], source: ImportSource) -> AsyncGenerator[bytes]:
    """Converts the lines of each piece in a thread, to keep the event loop responsive.

    Raises:
        BadSourceLine: A line is not as the first one, or too long.
    """
    converter = JsonLines(source)
    rest: list[bytes] = []
    async for piece in pieces:
        whole, newline, begun = piece.rpartition(b"\n")
        if newline:
            lines = b"".join((*rest, whole)).split(b"\n")
            rest = []
            yield await asyncio.to_thread(converter.convert, lines)
        rest.append(begun)
        if sum(map(len, rest)) > MAX_LINE_BYTES:
            raise converter.error(f"has more than {MAX_LINE_BYTES} bytes")
    yield await asyncio.to_thread(converter.convert, [b"".join(rest)])


class JsonLines:
    """Converts lines in their order: rows have the same numbers as lines."""

    def __init__(self, source: ImportSource) -> None:
        self._names = source.columns
        self._width = source.width
        self._is_strict = source.is_strict
        self._number = 0
        self._blank: int | None = None

    def convert(self, lines: Sequence[bytes]) -> bytes:
        rows = []
        for line in lines:
            if self._number == 0:
                line = line.removeprefix(BOM)  # noqa: PLW2901 - only the first one has it
            if not line.strip():
                self._number += 1
                self._blank = self._blank or self._number
                continue
            if self._blank is not None:
                self._number = self._blank - 1
                raise self.error("is empty")
            rows.append(self._row(line))
            self._number += 1
        return b"".join(rows)

    def error(self, what: str, column: str | None = None) -> BadSourceLine:
        """The error of the line after the ones that are converted."""
        line = self._number + 1
        return BadSourceLine(f"Line {line} of the file {what}.", line=line, column=column)

    def _row(self, line: bytes) -> bytes:
        if has_too_many_values(line):
            raise self.error(f"has more than {MAX_VALUES} values")
        try:
            values = self._by_name(line) if self._names else self._by_position(line)
            return b"\t".join(map(_cell, values)) + b"\n"
        except _ERRORS as error:
            kind = "object" if self._names else "array"
            raise self.error(f"is not a JSON {kind}: {error}") from error

    def _by_name(self, line: bytes) -> list[Any]:
        found = _decode_object(line)
        values = [found.get(name) for name in self._names]
        if self._is_strict and len(found) > len(self._names) - values.count(None):
            unknown = next(name for name in found if name not in self._names)
            raise self.error(
                f'has the name "{unknown[:63]}", which the first line does not have', unknown
            )
        return values

    def _by_position(self, line: bytes) -> list[Any]:
        values = _decode_array(line)
        if len(values) != self._width:
            raise self.error(f"has {len(values)} values instead of {self._width}")
        return values


def _cell(value: msgspec.Raw | None) -> bytes:
    """Nested values are JSON text, and numbers as they are written, so that nothing is lost."""
    if value is None:
        return NULL
    text = bytes(value)
    match text[:1]:
        case b'"':
            return escape(_decode_text(text).encode() if b"\\" in text else text[1:-1])
        case b"n":
            return NULL
        case b"[" | b"{":
            return escape(text)
        case _:
            return text
