"""The errors of changes that Howdah reports itself."""

import difflib
from collections.abc import Iterable

import msgspec

from db.errors import BadInput, Conflict, Unavailable
from db.runs import Failure
from db.workbench.execution.run_failures import CONNECTION_LOST

NEAR_NAMES = 3

LOST_BEFORE_COMMIT = Failure(
    message="The connection to the database was lost before the commit.",
    hint="Send the changes again: nothing was changed.",
)
OUTCOME_UNKNOWN = msgspec.structs.replace(
    CONNECTION_LOST,
    message="The connection to the database was lost during the commit; the outcome is unknown.",
    code=Unavailable.code,
    hint="Read the rows again: either all changes were made, or none.",
)
CATALOGUE_UNREADABLE = Failure(
    message="The catalogue of the database could not be read, so nothing was changed.",
    hint="Check the rights of the role on pg_catalog, and whether the transaction has failed.",
)
STOPPED = Failure(message="The changes were stopped before the commit.", sqlstate="57014")
SUPPRESSED = Failure(
    message="PostgreSQL did not make this change: a trigger, a rule or a policy of the table "
    "suppressed it, or an earlier change of the request.",
    code=Conflict.code,
    hint="Check the triggers, rules and policies of the table. Nothing was changed.",
)
AMBIGUOUS = Failure(
    message="The key matches more than one row.",
    code=Conflict.code,
    hint="Pass the columns in `key` that identify one row. Nothing was changed.",
)


def rows_changed(count: int, total: int) -> Failure:
    return Failure(
        message=f"{count} of {total} changes name a row that was changed or deleted since it was "
        "read, so nothing was changed.",
        code=Conflict.code,
        hint="Show the rows of `conflicts`, and send the changes again with their values in "
        "`expected`.",
    )


def refused(message: str, hint: str) -> Failure:
    return Failure(message=message, code=BadInput.code, hint=hint)


def suggest(name: str, names: Iterable[str]) -> str:
    """A part of a hint: the names that are spelled nearly so. Empty without any."""
    known = list(names)
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), folded, NEAR_NAMES)
    if not close:
        return ""
    return f" Did you mean {' or '.join(folded[each] for each in close)}?"
