"""Errors of scripts that Howdah reports itself."""

import msgspec

from db.runs import Failure

SESSION_ENDED = Failure(
    message="The session of this script ended; the outcome of the statement that ran is unknown.",
    hint="An open transaction was rolled back. Check what the script changed outside of one.",
)
NEVER_STARTED = Failure(
    message="The session of this script ended before its first statement.",
    hint="Execute it again: nothing was sent to the database.",
)
OPEN_TRANSACTION = Failure(
    message="The session has an open transaction, but the script is a transaction of its own.",
    hint="End the transaction with `commitTransaction` or `rollbackTransaction`, or pass "
    "`transaction: EACH`. Nothing was executed.",
)
MAX_MESSAGE_CHARS = 16_000_000
"""Characters of the notices and errors of a script: its 5,000 statements could send 15 GB."""
TOO_MANY_MESSAGES = Failure(
    message=f"The notices and errors of the script have more than {MAX_MESSAGE_CHARS} characters.",
    hint="Raise fewer or shorter notices, or set `client_min_messages` to `warning`. No further "
    "statement was executed.",
)
INTERNAL = Failure(
    message="An internal error occurred; the outcome of the statement that ran is unknown.",
    hint="Give the ID of this script to the operator: the server log has the details.",
)


def encode(failure: Failure | None) -> str | None:
    return None if failure is None else msgspec.json.encode(failure).decode()
