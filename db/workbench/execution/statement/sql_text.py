"""A small SQL tokenizer: finds a second statement, transaction control and empty texts."""

import itertools
import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<blank>   \s+ | --[^\n\r]* )
  | (?P<comment> /\* )
  | (?P<quoted>  [eE]'(?:[^'\\]|''|\\.)*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) )
  | (?P<dollar>  \$(?:[^\W\d]\w*)?\$ )
  | (?P<word>    [^\W\d][\w$]* | \d\w* | \$\d+ )
  | (?P<end>     ; )
  | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_LINE_END = re.compile(r"\r\n|\r|\n")
_TRANSACTION_WORDS = frozenset(
    ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE")
)

_CLIENT_WORDS = frozenset(("STDIN", "STDOUT"))


def second_statement(text: str) -> int | None:
    """The index at which a second statement begins, or None."""
    ended = False
    nesting = _Nesting()
    for kind, start, token in _tokens(text):
        if kind == "end":
            ended = not nesting.depth
        elif ended:
            return start
        nesting.update(token)
    return None


class _Nesting:
    """Nesting in parentheses and in BEGIN ATOMIC bodies, where semicolons end no statement."""

    def __init__(self) -> None:
        self.depth = 0
        self._before = ""
        self._bodies = 0

    def update(self, token: str) -> None:
        word = token.upper()
        if word == "ATOMIC" and self._before == "BEGIN":
            self._bodies += 1
            self.depth += 1
        elif word == "(" or (self._bodies and word == "CASE"):
            self.depth += 1
        elif self.depth and (word == ")" or (self._bodies and word == "END")):
            self.depth -= 1
        self._before = word


def controls_transaction(text: str) -> bool:
    """Whether the statement begins, ends or marks a transaction.

    PostgreSQL ignores empty statements, so `;;COMMIT` is a single statement too.
    """
    words = [word.upper() for kind, _, word in _first(text, 2) if kind == "word"]
    if words[:1] == ["PREPARE"]:
        return words[1:] == ["TRANSACTION"]
    return bool(words) and words[0] in _TRANSACTION_WORDS and words[1:] != ["PREPARED"]


def copies_from_client(text: str) -> bool:
    """Whether the statement is COPY ... FROM STDIN, which waits for data of the client."""
    before, depth = "", 0
    for kind, _, token in _tokens(text):
        word = token.upper()
        if kind == "end":
            continue
        if not before and word != "COPY":
            return False
        depth += (word == "(") - (word == ")")
        # PostgreSQL takes either word for either direction
        if not depth and before == "FROM" and kind == "word" and word in _CLIENT_WORDS:
            return True
        before = word
    return False


def copy_encoding(text: str) -> str | None:
    """The encoding that a COPY statement names for its data, or None."""
    tokens = [token for _, _, token in _tokens(text)]
    for word, name in itertools.pairwise(tokens):
        if word.upper() == "ENCODING" and name.startswith("'"):
            return name.strip("'")
    return None


def is_empty(text: str) -> bool:
    """Whether the text has only whitespace, comments and semicolons."""
    return all(kind == "end" for kind, _, _ in _tokens(text))


def upper_words(text: str) -> Iterator[str]:
    """The tokens in upper case, without comments and the semicolons that end statements."""
    return (token.upper() for kind, _, token in _tokens(text) if kind != "end")


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Line and column of the character at `position`; all three count from 1."""
    lines = _LINE_END.split(text[: position - 1])
    return len(lines), len(lines[-1]) + 1


def _first(text: str, count: int) -> list[tuple[str, int, str]]:
    """The first tokens, without the semicolons of empty statements before them."""
    tokens = itertools.dropwhile(lambda token: token[0] == "end", _tokens(text))
    return list(itertools.islice(tokens, count))


def _tokens(text: str) -> Iterator[tuple[str, int, str]]:
    """Yields (kind, index, text) of all tokens except whitespace and comments."""
    index = 0
    while found := _TOKEN.match(text, index):
        kind, start, index = str(found.lastgroup), found.start(), found.end()
        if kind == "comment":
            index = _after_comment(text, index)
        elif kind == "dollar":
            closing = text.find(found.group(), index)
            index = len(text) if closing < 0 else closing + len(found.group())
        if kind not in {"blank", "comment"}:
            yield kind, start, found.group()


def _after_comment(text: str, index: int) -> int:
    """The index after the comment. PostgreSQL's block comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, index)):
        depth += 1 if edge.group() == "/*" else -1
        index = edge.end()
    return index if not depth else len(text)
