"""EXPLAIN as Howdah sends it, recognised by the text alone."""

import re

from db.workbench.sql.sql_text import controls_transaction
from db.workbench.sql.statement_kind import statement_kind

MARK = "/* explainQuery: rolled back */"
"""Stands between EXPLAIN and the statement of a plan. A client that sends the text itself, such as
from the history of runs, has the statement rolled back. The audit log and the server's own log have
the mark, too."""

_OPTIONS = "VERBOSE, BUFFERS, SETTINGS, SUMMARY, FORMAT JSON"
"""PostgreSQL has all of them from version 13. COSTS and TIMING are its defaults."""
_ANALYZE = "ANALYZE, WAL, "
_GENERIC = "GENERIC_PLAN, "
_EXPLAIN = re.compile(rf"EXPLAIN \([A-Z_, ]+\) {re.escape(MARK)} ")
_TABLES_FROM_QUERIES = ("CREATE TABLE", "CREATE MATERIALIZED VIEW")
_UTILITIES = frozenset(
    (
        *("ALTER", "ANALYZE", "CALL", "CHECKPOINT", "CLOSE", "CLUSTER", "COMMENT", "COPY"),
        *("CREATE", "DEALLOCATE", "DISCARD", "DO", "DROP", "EXPLAIN", "FETCH", "GRANT", "IMPORT"),
        *("LISTEN", "LOAD", "LOCK", "MOVE", "NOTIFY", "PREPARE", "REASSIGN", "REFRESH", "REINDEX"),
        *("RESET", "REVOKE", "SECURITY", "SET", "SHOW", "TRUNCATE", "UNLISTEN", "VACUUM"),
    )
)
"""The first words of statements that EXPLAIN does not accept, besides those on transactions."""


def explain_statement(statement: str, *, analyze: bool = False, generic: bool = False) -> str:
    more = _ANALYZE if analyze else _GENERIC if generic else ""
    return f"EXPLAIN ({more}{_OPTIONS}) {MARK} {statement}"


def explain_prefix(text: str) -> str:
    """The text before the explained statement. Empty if Howdah did not write the text."""
    found = _EXPLAIN.match(text)
    return found.group() if found else ""


def is_rolled_back(text: str) -> bool:
    """Whether the statement is executed for its plan only, so that its changes are undone."""
    return _EXPLAIN.match(text) is not None


def is_generic(text: str) -> bool:
    """Whether Howdah wrote the text for a plan that depends on no values of `$1`, `$2`, ..."""
    return _GENERIC in explain_prefix(text)


def unexplainable_kind(statement: str) -> str | None:
    """The command of a statement that EXPLAIN does not accept, such as VACUUM or EXPLAIN."""
    kind = statement_kind(statement)
    is_utility = kind.partition(" ")[0] in _UTILITIES and kind not in _TABLES_FROM_QUERIES
    return kind if is_utility or controls_transaction(statement) else None
