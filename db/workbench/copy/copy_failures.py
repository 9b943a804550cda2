"""Errors of COPY that Howdah reports itself."""

import re

from db.errors import BadInput, HowdahError
from db.runs import Failure

COPY_WITHOUT_DATA = Failure(
    message="COPY ... FROM STDIN reads rows from the client, and this run sends none. Nothing was "
    "loaded.",
    sqlstate="0A000",
    severity="ERROR",
    hint="Load a file of a bucket with `importRows`, or run `executeScript` with the rows below "
    "the statement, as psql reads them.",
)
UNEXPECTED_COPY = Failure(
    message="The server began a copy that the statement does not ask for, so the connection was "
    "closed.",
    sqlstate="08P01",
    severity="ERROR",
    hint="Replication commands are not supported. For others, check host and port of the "
    "connection: this is not an ordinary PostgreSQL server.",
)

# The words are in the language of the server: COPY t, line 3, column a: "x". If their length had no
# limit, the search would take quadratic time; the context may repeat any statement of a user. The
# number is one that the API can represent.
_AT_LINE = re.compile(
    r"^COPY .*?, [^\d\n]{1,40} (?P<line>\d{1,15})(?!\d)(?:, \S+ (?P<column>[^:\n]+))?", re.MULTILINE
)


def source_position(context: str | None) -> tuple[int | None, str | None]:
    """Line and column of the copied data that PostgreSQL's CONTEXT names, if any."""
    found = _AT_LINE.search(context or "")
    return (int(found["line"]), found["column"]) if found else (None, None)


class BadSourceLine(BadInput):
    """A line or row of the data that cannot be copied."""

    def __init__(
        self, message: str, *, line: int, column: str | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint or "Correct the file and import it again.")
        self.line = line
        self.column = column


def source_failed(error: HowdahError) -> Failure:
    """The failure of a COPY whose data could not be read to its end, so that nothing is loaded."""
    line, column = None, None
    if isinstance(error, BadSourceLine):
        line, column = error.line, error.column
    return Failure(
        message=f"{error.message} Nothing was loaded.",
        hint=error.hint,
        source_line=line,
        source_column=column,
    )
