"""What the text of a statement says about transactions, by the rules of psql."""

import itertools

from db.workbench.sql.sql_text import (
    controls_transaction,
    first_word,
    first_words,
    upper_words,
)

_ALONE = {
    ("VACUUM",),
    ("CREATE", "DATABASE"),
    ("CREATE", "TABLESPACE"),
    ("CREATE", "INDEX", "CONCURRENTLY"),
    ("CREATE", "UNIQUE", "INDEX", "CONCURRENTLY"),
    ("ALTER", "SYSTEM"),
    ("DROP", "DATABASE"),
    ("DROP", "SYSTEM"),
    ("DROP", "TABLESPACE"),
    ("DROP", "INDEX", "CONCURRENTLY"),
    ("REINDEX", "DATABASE"),
    ("REINDEX", "SYSTEM"),
    ("REINDEX", "TABLESPACE"),
    ("REINDEX", "TABLE", "CONCURRENTLY"),
    ("REINDEX", "INDEX", "CONCURRENTLY"),
    ("DISCARD", "ALL"),
}
"""Commands that PostgreSQL refuses in a transaction (psql's `command_no_begin`)."""
_BEGINS = {"BEGIN", "START"}
_COMMITS = {"COMMIT", "END"}
_AFTER_COMMIT = {
    (*noise, *chain)
    for noise in ((), ("WORK",), ("TRANSACTION",))
    for chain in ((), ("AND", "CHAIN"), ("AND", "NO", "CHAIN"))
}
_SETTINGS = {"SET", "RESET", "LISTEN", "UNLISTEN"}


def runs_without_begin(text: str) -> bool:
    """Whether psql with AUTOCOMMIT off sends the statement without a BEGIN before it."""
    words = first_words(text, 4)
    if words[:1] == ["CLUSTER"]:
        return len(words) == 1
    if words[:1] in (["SAVEPOINT"], ["RELEASE"]):
        return False
    is_alone = any(tuple(words[: len(command)]) == command for command in _ALONE)
    return (
        is_alone
        or words[:2] in (["COMMIT", "PREPARED"], ["ROLLBACK", "PREPARED"])
        or controls_transaction(text)
    )


def begins_transaction(text: str) -> bool:
    return first_word(text) in _BEGINS


def prepares_transaction(text: str) -> bool:
    return first_words(text, 2) == ["PREPARE", "TRANSACTION"]


def chains(text: str) -> bool:
    """Whether the statement ends a transaction and begins another: COMMIT AND CHAIN."""
    ends = first_word(text) in {*_COMMITS, "ROLLBACK", "ABORT"}
    return ends and first_words(text, 4)[-2:] == ["AND", "CHAIN"]


def rollback_instead(text: str) -> str | None:
    """The statement that ends the transaction of a COMMIT without its effects, or None.

    None also for a text that is more than a COMMIT: PostgreSQL refuses it.
    """
    words = tuple(itertools.islice(upper_words(text), 6))
    if not words or words[0] not in _COMMITS or words[1:] not in _AFTER_COMMIT:
        return None
    return "ROLLBACK AND CHAIN" if chains(text) else "ROLLBACK"


def changes_settings_only(text: str) -> bool:
    """Whether the statement can change nothing but the settings and channels of its session."""
    return first_word(text) in _SETTINGS


def is_commit(command: str | None) -> bool:
    """Whether a statement with this command tag has committed a transaction."""
    return command == "COMMIT"
