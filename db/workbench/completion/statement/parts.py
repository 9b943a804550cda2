"""The parts of the statement at a cursor: words, names and marks, with the cursor as one of them.

The text is usually incomplete. Nothing here raises for it: a quote that is not closed ends at the
cursor if the cursor is inside of it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from db.workbench.sql.sql_tokens import Token, tokens

_SINGLE_MARKS = frozenset(".,[]()")
_MARK_KINDS = frozenset(("open", "close", "other"))
_ALWAYS_CONTINUED = frozenset(("word", "number", "unclosed"))
_IGNORED = frozenset(("comment", "unclosed", "backslash"))


def word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


class Part(NamedTuple):
    """`kind` is word, name (quoted), string, number, mark (operators and punctuation) or cursor."""

    kind: str
    start: int
    end: int
    text: str

    @property
    def word(self) -> str:
        """The upper-case word if this can be a keyword, else an empty string."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The name as the catalogue has it; empty if this is no name."""
        if self.kind == "name" or (self.kind == "cursor" and self.text.startswith('"')):
            return self.text.removeprefix('"').removesuffix('"').replace('""', '"')
        return self.text.lower() if self.kind in {"word", "cursor"} else ""


class Cursor(NamedTuple):
    """The place that a completion replaces.

    `typed` is what stands there before the cursor. `quote` is the quote that it begins with.
    """

    part: int
    start: int
    end: int
    typed: str
    quote: str


class Statement(NamedTuple):
    """Parts of one statement; the one at `cursor.part` has the kind cursor."""

    parts: list[Part]
    cursor: Cursor


def statement_at(text: str, cursor: int) -> Statement | None:
    """The statement at the cursor, or None inside of a comment, a dollar quote or a number."""
    return _StatementReader(text, cursor).read()


class _StatementReader:
    def __init__(self, text: str, cursor: int) -> None:
        self._text = text
        self._index = cursor
        self._parts: list[Part] = []
        self._cursor: Cursor | None = None

    def read(self) -> Statement | None:
        previous_end = 0
        for token in _resumed_tokens(self._text, self._index):
            if self._cursor is None and self._index <= token.start:
                if self._in_line_comment(previous_end):
                    return None
                self._place_cursor(self._index, self._index, "")
            previous_end = token.end
            if token.kind == "end" and self._cursor is not None:
                break
            if self._cursor is not None or not _is_open(token, self._index):
                self._add(token)
            elif not self._take_cursor(token):
                return None
        if self._cursor is None and self._in_line_comment(previous_end):
            return None
        cursor = self._cursor or self._place_cursor(self._index, self._index, "")
        return Statement(self._parts, cursor)

    def _add(self, token: Token) -> None:
        if token.kind == "end":
            self._parts.clear()
        elif token.kind not in _IGNORED:
            self._parts.extend(_parts(token))
        last = [part.word for part in self._parts[-2:]]
        if last == ["BEGIN", "ATOMIC"] and self._cursor is None:
            self._parts.clear()  # the statements of a routine's body follow

    def _take_cursor(self, token: Token) -> bool:
        """Takes the word, name or string with the cursor; False if nothing can be completed."""
        quote = token.text.lstrip("eE")[0] if token.kind == "quoted" else ""
        if (
            token.kind not in {"word", "quoted"}
            or quote not in token.text[: self._index - token.start]
        ):
            return False
        self._place_cursor(token.start, token.end, quote)
        return True

    def _place_cursor(self, start: int, end: int, quote: str) -> Cursor:
        typed = self._text[start : self._index]
        self._cursor = cursor = Cursor(len(self._parts), start, end, typed, quote)
        self._parts.append(Part("cursor", start, end, self._text[start:end]))
        return cursor

    def _in_line_comment(self, gap_start: int) -> bool:
        """Between two tokens are only blanks and line comments."""
        text, cursor = self._text, self._index
        line = max(text.rfind("\n", gap_start, cursor), text.rfind("\r", gap_start, cursor))
        return text.find("--", max(line, gap_start), cursor) >= 0


def _resumed_tokens(text: str, cursor: int) -> Iterator[Token]:
    """The tokens, with a quote that seems to lack its end closed at the cursor.

    Adjacent marks are divided at the cursor.
    """
    for token in tokens(text):
        if token.kind in _MARK_KINDS and token.start < cursor < token.end:
            middle = cursor - token.start
            yield token._replace(end=cursor, text=token.text[:middle])
            token = token._replace(start=cursor, text=token.text[middle:])  # noqa: PLW2901
        begins_at = token.start + (token.text[0] in "eE")
        is_around = token.kind == "quoted" and begins_at < cursor <= token.end
        if is_around and _lacks_end(token, text, cursor):
            yield token._replace(end=cursor, text=text[token.start : cursor])
            yield from tokens(text, cursor)
            return
        yield token


def _lacks_end(token: Token, text: str, cursor: int) -> bool:
    """Whether the quote at the cursor swallows text that follows it, as while it is being typed.

    Then the quotes in the rest of the line are pairs.
    """
    if not _is_closed(token):
        return True
    line_end = text.find("\n", cursor)
    rest = text[cursor : len(text) if line_end < 0 else line_end]
    return cursor < token.end and rest.count(token.text[-1]) % 2 == 0


def _is_open(token: Token, cursor: int) -> bool:
    """Whether the cursor is in the token, or at the end of one that can be continued."""
    if not token.start < cursor <= token.end:
        return False
    if token.kind in _ALWAYS_CONTINUED or (token.kind == "quoted" and token.text[0] == '"'):
        return True
    if token.kind in {"quoted", "comment", "dollar", "backslash"}:
        return cursor < token.end or not _is_closed(token)
    return False


def _is_closed(token: Token) -> bool:
    """Whether the end of a string, a quoted name or a block comment is there."""
    if token.kind == "dollar":
        return token.end - token.start >= 2 * len(token.text)
    body = token.text.lstrip("eE")
    return token.kind == "comment" or (len(body) > 1 and body.endswith(body[0]))


def _parts(token: Token) -> Iterator[Part]:
    kind, start, end, text = token
    if kind in _MARK_KINDS:
        yield from _marks(start, text)
    elif kind == "quoted":
        yield Part("name" if text.startswith('"') else "string", start, end, text)
    else:
        yield Part("string" if kind == "dollar" else kind, start, end, text)


def _marks(start: int, text: str) -> Iterator[Part]:
    """Splits adjacent marks: each parenthesis, dot and comma is one, an operator stays whole."""
    index = 0
    while index < len(text):
        end = index + 1
        if text[index] not in _SINGLE_MARKS:
            while end < len(text) and text[end] not in _SINGLE_MARKS:
                end += 1
        yield Part("mark", start + index, start + end, text[index:end])
        index = end
