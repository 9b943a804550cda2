"""Errors of runs that Howdah reports itself, and hints for errors that PostgreSQL reports."""

import re

import msgspec

from db.errors import HowdahError, NotFound, TooLarge, Unavailable
from db.runs import Failure
from db.workbench.sql.sql_text import first_token, line_and_column, upper_words

CONNECTION_LOST = Failure(
    message="The connection to the database was lost; the outcome is unknown.",
    hint="Check what the statement changed before you run it again: Howdah never retries a run.",
)
LOST_BEFORE_STATEMENT = Failure(
    message="The connection to the database was lost before the statement was sent.",
    hint="Run it again: nothing was executed.",
)
TOO_MANY_SETTINGS = Failure(
    message="The server reported more settings than PostgreSQL has, so the connection was closed.",
    hint="Check host and port of the connection: this is not an ordinary PostgreSQL server.",
)
UNEXPECTED_ROWS = Failure(
    message="The server returned rows that are not those of PostgreSQL; the outcome is unknown.",
    hint="Check host and port of the connection: this is not an ordinary PostgreSQL server.",
)
SERVER_STOPPED = Failure(
    message="The server was stopped while this statement ran.",
    hint="Check what the statement changed before you run it again.",
)
NOT_STORED_IN_TIME = Failure(
    message="The statement has ended, but its rows were not stored before the run was stopped.",
    hint="Run it again, or ask the operator: the result store is slow. Its changes are committed.",
)
EMPTY_STATEMENT = Failure(
    message="This text contains no statement.",
    sqlstate="42601",
    severity="ERROR",
    hint="Add a statement: the text holds only comments, whitespace or semicolons.",
)
NO_GENERIC_PLAN = Failure(
    message="The server is older than PostgreSQL 16, which was the first with generic plans.",
    sqlstate="0A000",
    severity="ERROR",
    hint="Pass `parameters`, and omit `genericPlan`: the plan is made for these values.",
)

_NO_SESSION_STATE = (
    "Use it in the session that made it, which `openSession` opens: other runs share no state."
)
HINTS = {
    "08P01": "Pass one value in `parameters` for each of $1, $2 ... in the "
    "statement. A script has no parameters: write the values into it.",
    "25001": "Send it as a single statement, not in a function, and without `readOnly`: "
    "PostgreSQL runs this command only outside a transaction.",
    "25006": "Use a run, connection and server that allow writes: one of them is read-only.",
    "25P01": "Begin a transaction first, in a session of `openSession` or in `executeScript`: any "
    "other run is a transaction of its own.",
    "25P02": "Roll back the transaction, with `rollbackTransaction` or to a savepoint.",
    "26000": _NO_SESSION_STATE,
    "2D000": "Run it outside a transaction block, not in a function, and without `readOnly`: the "
    "statement ends transactions itself.",
    "34000": _NO_SESSION_STATE,
    "57014": "Run it again: another session or a `statement_timeout` of its own session cancelled "
    "it, or its connection was closed or deleted.",
    "40001": "Roll back the transaction, and begin again with the rows as they are now: another "
    "transaction changed one that this one has read.",
    "42703": 'Check the spelling of the column. Quote a name with capital letters: "unitPrice".',
    "42P01": "Check the spelling of the table, and write its schema if it is not in the search "
    "path: shop.orders. Quote a name with capital letters. A temporary table exists only in the "
    "session that created it.",
    "42501": "Ask the owner of the object or a superuser to grant the missing privilege.",
}
"""Hints by SQLSTATE, for errors that PostgreSQL sends without one."""
_SET_TRANSACTION = (
    "Set it as the first statement of a transaction, in a session of `openSession`. A run with "
    "`readOnly` stays read-only."
)
_PSQL_COMMAND = "Omit it: commands that begin with a backslash are those of psql, and not SQL."
_PLACEHOLDER = (
    "Write $1, $2 ... for the values, and pass them in `parameters`: PostgreSQL knows no other "
    "placeholders."
)
_NAMED_PLACEHOLDER = re.compile(r":[A-Za-z_]")
_SEQUENCE_STATE = re.compile(r"\b(?:currval|lastval)\b", re.IGNORECASE)

ENDS_CONNECTION = frozenset(("25P03", "25P04", "57P01", "57P02", "57P03", "57P04", "57P05"))
"""The reasons for which a server ends a connection. It sends some of them as a WARNING."""
_IDLE_TIMEOUTS = frozenset(("25P03", "57P05"))
"""The server checks these timeouts only while it waits for a statement."""
_UNKNOWN_OUTCOME = (
    "The server ended the connection, so the outcome is unknown: check what the statement changed "
    "before you run it again."
)
_ENDED_IDLE = "Run it again: the server ended the connection before the statement began."


def hint_of(sqlstate: str | None, statement: str, position: int | None) -> str | None:
    """The hint for an error that PostgreSQL sends without one."""
    if sqlstate == "42601" and position and statement.startswith("\\", position - 1):
        return _PSQL_COMMAND
    if sqlstate == "42601" and position and _is_placeholder(statement, position - 1):
        return _PLACEHOLDER
    if sqlstate == "25001" and next(upper_words(statement), "") == "SET":
        return _SET_TRANSACTION
    if sqlstate == "55000" and _SEQUENCE_STATE.search(statement):
        return _NO_SESSION_STATE
    return HINTS.get(sqlstate or "")


def _is_placeholder(statement: str, index: int) -> bool:
    """Whether a syntax error is that of `:name`, or of what follows `?`, which is an operator."""
    is_named = _NAMED_PLACEHOLDER.match(statement, index) is not None
    return is_named or statement[:index].rstrip().endswith("?")


def transaction_control(statement: str) -> Failure:
    """The error of BEGIN, COMMIT and the like outside a database session."""
    position = first_token(statement) + 1
    line, column = line_and_column(statement, position)
    return Failure(
        message="A run cannot begin or end a transaction: every run is a separate transaction.",
        sqlstate="0A000",
        severity="ERROR",
        hint="Open a session with `openSession` and run it there, or run all statements together "
        "with `executeScript`.",
        position=position,
        line=line,
        column=column,
    )


def multiple_statements(statement: str, second: int) -> Failure:
    """`second` is the index in `statement` at which the second statement begins."""
    line, column = line_and_column(statement, second + 1)
    return Failure(
        message="The text contains more than one statement.",
        sqlstate="42601",
        severity="ERROR",
        hint=f"Run them one by one, or together with `executeScript`: the second begins at line "
        f"{line}, column {column}.",
        position=second + 1,
        line=line,
        column=column,
    )


def ended_by_server(failure: Failure) -> Failure:
    """The error with which the server has ended the connection, and what that means for the run."""
    hint = _ENDED_IDLE if failure.sqlstate in _IDLE_TIMEOUTS else _UNKNOWN_OUTCOME
    reported = f"{failure.hint} " if failure.hint and failure.sqlstate not in HINTS else ""
    return msgspec.structs.replace(failure, hint=f"{reported}{hint}")


def row_too_large(limit: int) -> Failure:
    return Failure(
        message=f"A row, or a few rows read together, have more than {limit} bytes. The run was "
        "ended before they had arrived.",
        code=TooLarge.code,
        hint="Select fewer or shorter values, such as left(column, 1000) or octet_length(column), "
        "or ask the operator to raise HOWDAH_RUN_MAX_ROW_BYTES. Check what the statement changed.",
    )


def timed_out(timeout_ms: int) -> Failure:
    return Failure(
        message=f"The statement took longer than {timeout_ms} ms and was stopped.",
        sqlstate="57014",
        severity="ERROR",
        hint="Make the statement faster, or pass a larger `timeoutMs`.",
    )


def not_sent(error: HowdahError) -> Failure:
    return Failure(message=error.message, hint=error.hint)


def connection_deleted() -> HowdahError:
    return NotFound(
        "The connection of this run was deleted before it began.",
        hint="Run the statement on another connection: nothing was sent to the database.",
    )


def internal_error() -> Failure:
    return Failure(
        message="An internal error occurred; the outcome is unknown.",
        hint="Give the ID of this run to the operator: the server log has the details.",
    )


def not_stored(error: HowdahError) -> Failure:
    return Failure(
        message="The rows of this result could not be stored.",
        hint=f"{error.message} {error.hint}",
    )


def stopping_error() -> Unavailable:
    """The error of work that is submitted while the process shuts down."""
    return Unavailable("The server is stopping.", hint="Try again in a moment.", retry_after_s=1)
