"""Reads the file of the old console application: record by record, in bounded memory."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from db.errors import BadInput

LONGEST_RECORD = 1_000_000
CHUNK_BYTES = 65_536

_decoder = json.JSONDecoder(strict=False)  # a raw line break within a text harms nobody
_blanks = re.compile(r"[ \t\r\n]+")


class Broken(BadInput):
    """From here on the file cannot be read; what was read before is whole."""


class _Place(NamedTuple):
    line: int
    column: int

    def after(self, text: str) -> "_Place":
        breaks = text.count("\n")
        start = 1 if breaks else self.column
        return _Place(self.line + breaks, start + len(text) - 1 - text.rfind("\n"))


def decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    """UTF-8, UTF-16 or UTF-32, with a byte order mark or without."""
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


def records(chunks: Iterable[str]) -> Iterator[Any]:
    """The elements of the list that the text is, or that an object has under `tasks`.

    Raises BadInput when there is no such list, Broken where the list cannot be read further.
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
        raise text.broken("something follows after its end")


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
    """Each name of an object; whoever asks for the next one has read its value."""
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
    """Text that arrives in chunks; what was read of it is forgotten."""

    def __init__(self, chunks: Iterable[str]) -> None:
        self._chunks = iter(chunks)
        self._text = ""
        self._at = 0
        self._start = _Place(1, 1)
        self._more()
        self._at = int(self._text.startswith("\ufeff"))

    def peek(self) -> str:
        """The next character that is not blank; none at the end."""
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
                raise self.broken("a number or a nesting that is out of all bounds") from None
            else:
                if end < len(self._text) or not self._more():  # else a number may go on
                    self._at = end
                    return value

    def broken(self, why: str, *, at: int | None = None) -> Broken:
        line, column = self._start.after(self._text[: self._at if at is None else at])
        return Broken(
            f"The JSON breaks at line {line}, column {column}: {why}.",
            hint="Mend the file there and import it again: what is in already stays as it is.",
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
        raise Broken(
            f"The file is not {error.encoding.upper()} near byte {before + error.start}.",
            hint="Save it as UTF-8 and import it again: what is in already stays as it is.",
            field="json",
        ) from None


def _no_list() -> BadInput:
    return BadInput(
        "This is no list of tasks.",
        hint='Expected JSON: a list of tasks, or an object like {"tasks": [...]}.',
        field="json",
    )
