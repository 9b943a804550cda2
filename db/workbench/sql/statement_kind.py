"""Names the command of a statement, such as `SELECT` or `CREATE TABLE`, from its first words."""

import itertools

from db.workbench.sql.sql_text import statement_tokens

_ON_OBJECTS = frozenset(("CREATE", "ALTER", "DROP"))
_SCOPE_WORDS = ("GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED")
_MODIFIERS = frozenset(
    ("OR", "REPLACE", "UNIQUE", "RECURSIVE", "TRUSTED", "PROCEDURAL", "CONSTRAINT", *_SCOPE_WORDS)
)
"""Words between CREATE and the name of the kind of object."""
_OBJECTS = (
    "ACCESS METHOD",
    "DEFAULT PRIVILEGES",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "LARGE OBJECT",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "OWNED",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
)
"""Kinds of objects with more than one word; all others are one word."""
_PHRASES = (
    "COMMIT PREPARED",
    "IMPORT FOREIGN SCHEMA",
    "PREPARE TRANSACTION",
    "REASSIGN OWNED",
    "REFRESH MATERIALIZED VIEW",
    "ROLLBACK PREPARED",
    "ROLLBACK TO",
    "SECURITY LABEL",
    "START TRANSACTION",
)
"""Commands with more than one word, besides those on objects."""
_MAIN_VERBS = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE"))
_LEADING_WORDS = 8
MAX_TOKENS = 20_000
"""Those of a WITH that are read to find the command after it: they take up to 0.1 seconds."""


def statement_kind(statement: str) -> str:
    """Upper-case words; empty if the statement does not begin with a word.

    A query in parentheses is named as if it had none, and a WITH by the statement after it, unless
    that is far behind.
    """
    words = _leading_words(statement)
    first = words[0] if words else ""
    if first == "WITH":
        return _main_verb(statement) or first
    if first in _ON_OBJECTS:
        return f"{first} {_object(words[1:])}".strip()
    return _phrase(words, _PHRASES) or first


def _leading_words(statement: str) -> list[str]:
    found: list[str] = []
    for token in statement_tokens(statement):
        if token.kind == "word" and len(found) < _LEADING_WORDS:
            found.append(token.text.upper())
        elif found or token.kind != "open":
            break
    return found


def _object(words: list[str]) -> str:
    named = [word for word in words if word not in _MODIFIERS] or words
    return _phrase(named, _OBJECTS) or (named[0] if named else "")


def _phrase(words: list[str], phrases: tuple[str, ...]) -> str | None:
    """The one of the phrases with which the words begin."""
    return next((one for one in phrases if words[: len(one.split())] == one.split()), None)


def _main_verb(statement: str) -> str | None:
    """The command after the common table expressions. Their names may be verbs too."""
    depth = 0
    before = ""
    for token in itertools.islice(statement_tokens(statement), MAX_TOKENS):
        if token.kind == "open":
            depth += len(token.text)
        elif token.kind == "close":
            depth -= len(token.text)
        elif depth == 0 and token.kind == "word":
            word = token.text.upper()
            if word in _MAIN_VERBS and before not in {"WITH", "RECURSIVE", ","}:
                return word
        before = token.text.upper()
    return None
