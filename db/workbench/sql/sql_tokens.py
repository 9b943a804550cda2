"""The SQL tokenizer, with the rules by which psql finds the end of a statement.

The token rules are those of psql's scanner (src/fe_utils/psqlscan.l in PostgreSQL), with
`standard_conforming_strings` on. Two doubled quotes are two adjacent strings here, which changes
no boundary. Every repetition is possessive or cannot fail after it, so the time is linear.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Letters of a name are also all characters beyond ASCII. The classes list what they exclude: `re`
# takes 3 ms to compile a class up to U+10FFFF, at each start of the server.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-^`{-\x7f]"
_NAME = _LETTER + r"[^\x00-\x23%-/:-@\[-^`{-\x7f]*+"
_TOKEN = re.compile(
    rf"""
    (?P<blank>     [ \t\n\r\f\v]++ | --[^\n\r]*+ )
  | (?P<quoted>    [eE]'(?:[^'\\]++|\\(?:.|\Z)|'')*+'? | '[^']*+'? | "[^"]*+"? )
  | (?P<word>      {_NAME} )
  | (?P<end>       ; )
  | (?P<open>      \(++ )
  | (?P<close>     \)++ )
  | (?P<comment>   /\* )
  | (?P<dollar>    \$(?:{_LETTER}{_LETTER_OR_DIGIT}*+)?\$ )
  | (?P<number>    \$\d++(?:{_NAME})?
                   | (?:\d++\.?\d*+|\.\d++)(?:[eE][+-](?:\d++(?:{_NAME})?)?|{_NAME})? )
  | (?P<backslash> \\[^\s\\]*+ )
  | (?P<other>     :: | :{_LETTER_OR_DIGIT}++ | [.,=\]\[*+<>%^!~@\#&|`?{{}}]++ | . )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_MARKS = {
    "create": "c",
    "function": "f",
    "procedure": "p",
    "or": "o",
    "replace": "r",
    "copy": "C",
    "from": "F",
    "stdin": "S",
    "stdout": "S",
}
_MARKED_WORDS = 8
_ROUTINE_STARTS = ("cf", "cp", "corf", "corp")


class Token(NamedTuple):
    """`kind` is the name of a group of `_TOKEN`, or unclosed: a comment without its end."""

    kind: str
    start: int
    end: int
    text: str
    """The token; of a comment and of a dollar-quoted string only its beginning."""


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """All tokens between two indices except whitespace and line comments.

    A string or comment that is not closed extends to the end. Adjacent parentheses, and adjacent
    characters of operators, are one token.
    """
    limit = len(text) if end is None else end
    index = start
    match = _TOKEN.match
    while found := match(text, index, limit):
        kind, begin, index = str(found.lastgroup), found.start(), found.end()
        if kind == "blank":
            continue
        if kind == "comment" and (index := _after_comment(text, index, limit)) < 0:
            kind, index = "unclosed", limit
        elif kind == "dollar":
            closing = text.find(found.group(), index, limit)
            index = limit if closing < 0 else closing + len(found.group())
        yield Token(kind, begin, index, found.group())


class StatementState:
    """What psql knows of a statement from its tokens: whether a semicolon ends it, and COPY.

    Semicolons end no statement inside of parentheses and of bodies of routines, which begin at
    BEGIN in CREATE [OR REPLACE] FUNCTION or PROCEDURE. psql parses no more than this either.
    """

    def __init__(self) -> None:
        self._parentheses = 0
        self._bodies = 0
        self._marks = ""
        """The first words outside of parentheses: a letter each, a space for other words."""

    @property
    def is_closed(self) -> bool:
        return not self._parentheses and not self._bodies

    @property
    def reads_copy_data(self) -> bool:
        """Whether this is COPY ... FROM STDIN. PostgreSQL accepts STDOUT with the same meaning."""
        found = self._marks.find("F", 1)
        return self._marks.startswith("C") and found > 0 and self._marks[found + 1 :][:1] == "S"

    def update(self, token: Token) -> None:
        if token.kind == "open":
            self._parentheses += len(token.text)
        elif token.kind == "close":
            self._parentheses = max(0, self._parentheses - len(token.text))
        elif token.kind == "word" and not self._parentheses:
            self._read_word(token.text)

    def _read_word(self, text: str) -> None:
        if len(self._marks) < _MARKED_WORDS:
            self._marks += _MARKS.get(text.lower(), " ")
        if not self._marks.startswith(_ROUTINE_STARTS):
            return
        word = text.lower()
        if word == "begin" or (word == "case" and self._bodies):
            self._bodies += 1
        elif word == "end" and self._bodies:
            self._bodies -= 1


def _after_comment(text: str, index: int, limit: int) -> int:
    """The index after the comment, which may hold others; -1 if it is not closed."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, index, limit)):
        depth += 1 if edge.group() == "/*" else -1
        index = edge.end()
    return index if not depth else -1
