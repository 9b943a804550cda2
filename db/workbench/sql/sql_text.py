"""Questions about a text of SQL: a second statement, transaction control, empty texts, lines."""

import itertools
import re
from collections.abc import Iterator

from db.workbench.sql.sql_tokens import StatementState, Token, tokens

_LINE_END = re.compile(r"\r\n|\r|\n")
_TRANSACTION_WORDS = frozenset(
    ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE")
)

_CLIENT_WORDS = frozenset(("STDIN", "STDOUT"))


def second_statement(text: str) -> int | None:
    """The index at which a second statement begins, or None."""
    ended = False
    state = StatementState()
    for token in _parts(text):
        if token.kind == "end":
            ended = state.is_closed
        elif ended:
            return token.start
        state.update(token)
    return None


def controls_transaction(text: str) -> bool:
    """Whether the statement begins, ends or marks a transaction.

    PostgreSQL ignores empty statements, so `;;COMMIT` is a single statement too.
    """
    words = first_words(text, 2)
    if words[:1] == ["PREPARE"]:
        return words[1:] == ["TRANSACTION"]
    return bool(words) and words[0] in _TRANSACTION_WORDS and words[1:] != ["PREPARED"]


def first_word(text: str) -> str:
    """The keyword or name with which the statement begins, in upper case, or an empty string."""
    return "".join(first_words(text, 1))


def first_words(text: str, count: int) -> list[str]:
    """The keywords and names among the first `count` tokens, in upper case."""
    first = itertools.islice(statement_tokens(text), count)
    return [token.text.upper() for token in first if token.kind == "word"]


def copies_from_client(text: str) -> bool:
    """Whether the statement is COPY ... FROM STDIN, which waits for data of the client."""
    before, depth = "", 0
    for word in upper_words(text):
        if not before and word != "COPY":
            return False
        depth += (word == "(") - (word == ")")
        # PostgreSQL takes either word for either direction
        if not depth and before == "FROM" and word in _CLIENT_WORDS:
            return True
        before = word
    return False


def copy_encoding(text: str) -> str | None:
    """The encoding that a COPY statement names for its data, or None."""
    for word, name in itertools.pairwise(_parts(text)):
        if word.text.upper() == "ENCODING" and name.text.startswith("'"):
            return name.text.strip("'")
    return None


def is_empty(text: str) -> bool:
    """Whether the text has only whitespace, comments and semicolons."""
    return all(token.kind == "end" for token in _parts(text))


def upper_words(text: str) -> Iterator[str]:
    """The tokens in upper case, without comments and the semicolons that end statements.

    Each parenthesis is one of them, also beside others.
    """
    for token in _parts(text):
        if token.kind in {"open", "close"}:
            yield from token.text
        elif token.kind != "end":
            yield token.text.upper()


def first_token(text: str) -> int:
    """The index at which the statement begins, or 0 if there is none."""
    return next((token.start for token in statement_tokens(text)), 0)


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Line and column of the character at `position`; all three count from 1."""
    lines = _LINE_END.split(text[: position - 1])
    return len(lines), len(lines[-1]) + 1


def statement_tokens(text: str) -> Iterator[Token]:
    """All tokens except comments and the semicolons of empty statements before the first one."""
    return itertools.dropwhile(lambda token: token.kind == "end", _parts(text))


def _parts(text: str) -> Iterator[Token]:
    """All tokens except comments."""
    return (token for token in tokens(text) if token.kind not in {"comment", "unclosed"})
