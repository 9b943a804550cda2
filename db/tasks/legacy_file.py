"""Parses the file of the old console application record by record, in bounded memory."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from db.errors import BadInput

LONGEST_RECORD = 1_000_000

_decoder = json.JSONDecoder(strict=False)  # accepts raw line breaks within strings
_blanks = re.compile(r"[ \t\r\n]+")


class BrokenFile(BadInput):
    """The rest of the file cannot be parsed. The records before are complete."""


class _Position(NamedTuple):
    line: int
    column: int

    def after(self, text: str) -> "_Position":
        breaks = text.count("\n")
        start = 1 if breaks else self.column
        return _Position(self.line + breaks, start + len(text) - 1 - text.rfind("\n"))


def decode_file(chunks: Iterable[bytes]) -> Iterator[str]:
    """Decodes UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""
    read_bytes = 0
    decoder: codecs.IncrementalDecoder | None = None
    for chunk in chunks:
        if decoder is None:
            encoding = json.detect_encoding(chunk)
            decoder = codecs.getincrementaldecoder(encoding)("strict")
        yield _text(decoder, chunk, before=read_bytes)
        read_bytes += len(chunk)
    if decoder is not None:
        yield _text(decoder, b"", before=read_bytes)


def parse_records(chunks: Iterable[str]) -> Iterator[Any]:
    """Yields the elements of a list, or of the list `tasks` of an object.

    Raises:
        BadInput: There is no such list.
        BrokenFile: The list cannot be parsed further.
    """
    text = _Text(chunks)
    match text.peek():
        case "[":
            yield from _elements(text)
        case "{":
            yield from _elements_under_tasks(text)
        case _:
            raise _no_list()
    if text.peek():
        raise text.broken("unexpected text after the end")


def _elements_under_tasks(text: "_Text") -> Iterator[Any]:
    found = False
    for name in _names(text):
        if name == "tasks":
            if text.peek() != "[":
                raise _no_list()
            found = True
            yield from _elements(text)
        else:
            text.value()
    if not found:
        raise _no_list()


def _names(text: "_Text") -> Iterator[Any]:
    """Yields the names of an object. The caller must read each value before the next name."""
    text.skip("{")
    while text.peek() != "}":
        name = text.value()
        text.skip(":")
        yield name
        if text.peek() != "}":
            text.skip(",")
    text.skip("}")


def _elements(text: "_Text") -> Iterator[Any]:
    text.skip("[")
    if text.peek() != "]":
        yield text.value()
        while text.peek() != "]":
            text.skip(",")
            yield text.value()
    text.skip("]")


class _Text:
    """Text read in chunks; parsed text is discarded."""

    def __init__(self, chunks: Iterable[str]) -> None:
        self._chunks = iter(chunks)
        self._text = ""
        self._at = 0
        self._start = _Position(1, 1)
        self._more()
        self._at = int(self._text.startswith("\ufeff"))

    def peek(self) -> str:
        """The next character that is not whitespace; empty at the end."""
        while True:
            if (blanks := _blanks.match(self._text, self._at)) is not None:
                self._at = blanks.end()
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            instead = f"`{found}`" if found else "the end"
            raise self.broken(f"expected `{expected}`, found {instead}")
        self._at += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > LONGEST_RECORD or not self._more():
                    raise self.broken(error.msg.lower(), at=error.pos) from None
            except (ValueError, RecursionError):
                raise self.broken("a number is too large or the nesting too deep") from None
            else:
                if end < len(self._text) or not self._more():  # else a number may continue
                    self._at = end
                    return value

    def broken(self, why: str, *, at: int | None = None) -> BrokenFile:
        line, column = self._start.after(self._text[: self._at if at is None else at])
        return BrokenFile(
            f"The JSON breaks at line {line}, column {column}: {why}.",
            hint="Correct the file there and import it again. Imported records are skipped.",
            field="json",
        )

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._start = self._start.after(self._text[: self._at])
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return True


def _text(decoder: codecs.IncrementalDecoder, chunk: bytes, *, before: int) -> str:
    try:
        return decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        raise BrokenFile(
            f"The file is not {error.encoding.upper()} near byte {before + error.start}.",
            hint="Save it as UTF-8 and import it again. Imported records are skipped.",
            field="json",
        ) from None


def _no_list() -> BadInput:
    return BadInput(
        "The JSON contains no list of tasks.",
        hint='Pass a list of tasks, or an object like {"tasks": [...]}.',
        field="json",
    )
