"""What a statement does, as far as its words and its command tag tell."""

import itertools
import re

from db.runs import ServerNotice
from db.workbench.sql.sql_text import upper_words
from db.workbench.sql.statement_kind import statement_kind

_QUERIES = frozenset(("SELECT", "VALUES", "TABLE"))
_OTHERS_WITH_ROWS = frozenset(
    ("INSERT", "UPDATE", "DELETE", "MERGE", "CALL", "EXPLAIN", "FETCH", "SHOW")
)
_STATE_COMMANDS = {
    "SET": "setting",
    "PREPARE": "prepared statement",
    "DECLARE CURSOR": "cursor",
    "LISTEN": "registration of LISTEN",
    "LOAD": "loaded library",
}
"""Commands that change only the session, and what they make."""
_OBJECT_WORDS = 12
_AFTER_CREATE = frozenset(("", "REPLACE", "LOCAL", "GLOBAL"))
_AFTER_INTO = frozenset(("INTO", "LOCAL", "GLOBAL"))
"""Words that TEMP follows. The name of a table or a column can be TEMP, too."""
_ADVISORY_LOCK = re.compile(r"pg_(?:try_)?advisory_lock(?:_shared)?", re.IGNORECASE)
_NOT_IN_TRANSACTION = "25P01"


def expected_command(statement: str) -> str | None:
    """The command tag of a statement with rows that was stopped before the server sent it.

    None for EXECUTE, whose tag is that of the prepared statement.
    """
    kind = statement_kind(statement)
    if kind in _QUERIES:
        return "SELECT"
    return kind if kind in _OTHERS_WITH_ROWS else None


def notice_of_lost_state(
    statement: str, command: str | None, *, has_columns: bool, notices: list[ServerNotice]
) -> ServerNotice | None:
    """The notice of a statement that has succeeded and whose effect ends with its run.

    A run outside a database session has its connection to itself and leaves nothing behind.
    """
    if any(notice.sqlstate == _NOT_IN_TRANSACTION for notice in notices):
        return None  # PostgreSQL's own warning for SET LOCAL and SET TRANSACTION
    made = _made(statement, command or "", has_columns=has_columns)
    if made is None:
        return None
    return ServerNotice(
        severity="WARNING",
        message=f"The {made} ended with this run: runs share no session state.",
        hint="Open a session with `openSession`, and pass its ID as `sessionId` of `executeQuery`.",
    )


def _made(statement: str, command: str, *, has_columns: bool) -> str | None:
    """What the statement has made in its session, if anything."""
    if command in _STATE_COMMANDS:
        return _STATE_COMMANDS[command]
    if command.startswith("CREATE ") or (command == "SELECT" and not has_columns):
        return "temporary object" if _is_temporary(statement) else None
    if command == "SELECT" and _ADVISORY_LOCK.search(statement):
        names = map(str.lower, upper_words(statement))
        return "advisory lock" if any(map(_ADVISORY_LOCK.fullmatch, names)) else None
    return None


def _is_temporary(statement: str) -> bool:
    """Whether CREATE or SELECT INTO makes an object in the schema of temporary objects."""
    words = upper_words(statement)
    if next(words, "") == "CREATE":
        words, before_temporary = itertools.islice(words, _OBJECT_WORDS), _AFTER_CREATE
    else:
        before_temporary = _AFTER_INTO
    before = ""
    for word in words:
        if before == "PG_TEMP" and word == ".":
            return True
        if before in before_temporary and word in {"TEMP", "TEMPORARY"}:
            return True
        if word == "(" and before_temporary is _AFTER_CREATE:
            return False
        before = word
    return False
