"""Why a run did not succeed, where it is we who say so."""

from db.errors import HowdahError, NotFound
from db.runs import Failure
from db.workbench.execution.sql_text import line_and_column

LOST = Failure(
    message="The connection to the database was lost; the outcome is unknown.",
    hint="Look at what the statement has done before you run it again: nothing is run twice here.",
)
INTERRUPTION = Failure(
    message="The server was stopped while this ran.",
    hint="Look at what the statement has done before you run it again.",
)
UNSTORED_IN_TIME = Failure(
    message="The statement has ended, but its rows were not stored before the run was stopped.",
    hint="What it has done is done. The store of results is slow: ask the operator, or try again.",
)
EMPTY = Failure(
    message="There is no statement in this text.",
    sqlstate="42601",
    severity="ERROR",
    hint="Comments and blanks alone do nothing; write a statement.",
)
TRANSACTION_CONTROL = Failure(
    message="A run cannot begin or end a transaction: each is one of its own.",
    sqlstate="0A000",
    severity="ERROR",
    hint="To change several things at once write one statement, with WITH or as a DO block.",
)

_NOTHING_KEPT = "A run leaves nothing for the next: run the statement itself."
HINTS = {
    "08P01": "Give `parameters` as many values as the statement has $1, $2 ...",
    "25001": "PostgreSQL runs this outside of transactions only: as a statement of its own, in no "
    "function, and without `readOnly`, which is a transaction.",
    "25006": "The run, its connection or its server is read-only; writing needs one that is not.",
    "25P01": "Each run is a transaction of its own: write one statement, such as a DO block.",
    "26000": _NOTHING_KEPT,
    "2D000": "A run with `readOnly` is one transaction; only others can end theirs in between.",
    "34000": _NOTHING_KEPT,
    "57014": "Somebody else has cancelled it, or its connection was closed or deleted here.",
    "42501": "The user of this connection lacks a privilege; an owner or a superuser can grant it.",
}
"""What to do where PostgreSQL does not say it, by SQLSTATE."""


def refused_copy() -> Failure:
    return Failure(
        message="COPY from or to the client does not work here.",
        sqlstate="0A000",
        severity="ERROR",
        hint="Use INSERT to bring rows in; to get rows out run the SELECT and download its result.",
    )


def several(statement: str, second: int) -> Failure:
    """The user's text holds more than one statement; `second` is the index of the next."""
    line, column = line_and_column(statement, second + 1)
    return Failure(
        message="This is more than one statement.",
        sqlstate="42601",
        severity="ERROR",
        hint=f"The second begins at line {line}, column {column}; run them one by one.",
        position=second + 1,
        line=line,
        column=column,
    )


def timed_out(timeout_ms: int) -> Failure:
    return Failure(
        message=f"The statement took longer than {timeout_ms} ms and was stopped.",
        sqlstate="57014",
        severity="ERROR",
        hint="Make it faster, or run it with a larger `timeoutMs`.",
    )


def refused(error: HowdahError) -> Failure:
    """The statement was not sent."""
    return Failure(message=error.message, hint=error.hint)


def connection_deleted() -> HowdahError:
    """While the run waited for its turn."""
    return NotFound(
        "The connection of this run was deleted before it began.",
        hint="Nothing was sent to the database. Run the statement on another connection.",
    )


def unexpected() -> Failure:
    return Failure(
        message="Something went wrong on our side; the outcome is unknown.",
        hint="Tell the operator the id of this run: more is in the log.",
    )


def unstored(error: HowdahError) -> Failure:
    """The result could not be kept."""
    return Failure(
        message="The rows of this result could not be stored.",
        hint=f"{error.message} {error.hint}",
    )
