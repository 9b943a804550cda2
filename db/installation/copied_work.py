"""Ends what the original of a copied database executes: in the rows of the copy only.

No target is touched: the statements belong to the original, which may still execute them.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import msgspec

from db.connections.unscoped import FORGET_OPEN
from db.database_sessions import CloseReason
from db.database_sessions.unscoped.copies import CLOSE_COPIED
from db.postgres.statements import Changes, Statement
from db.runs import Failure
from db.runs.unscoped.copies import INTERRUPT_COPIED
from db.scripts.unscoped.copies import INTERRUPT_COPIED_SCRIPTS

RUNNING = Failure(
    message="The installation that this database was copied from executed this statement; the "
    "outcome is unknown here.",
    hint="Check what the statement changed before you run it again.",
)
QUEUED = Failure(
    message="The installation that this database was copied from had queued this statement.",
    hint="Nothing was sent from here. Run it again if it was not executed there.",
)
SCRIPT = Failure(
    message="The installation that this database was copied from executed this script; the outcome "
    "is unknown here.",
    hint="Check what the script changed before you execute it again.",
)

Execute: TypeAlias = Callable[[str, Statement[Changes], dict[str, Any]], Awaitable[Sequence[Any]]]
"""Executes a statement on the table that is named first, and returns a row for each change."""


async def end_copied_work(execute: Execute, *, keep: timedelta) -> dict[str, int]:
    """Ends copied runs, scripts, sessions and open connections; returns their number by table.

    Ended runs and scripts expire after `keep`. Call it in a transaction.
    """
    return {
        table: len(await execute(table, statement, values))
        for table, statement, values in _statements(keep)
    }


def _statements(
    keep: timedelta,
) -> Iterator[tuple[str, Statement[Changes], dict[str, Any]]]:
    running, queued, script = (
        msgspec.json.encode(failure).decode() for failure in (RUNNING, QUEUED, SCRIPT)
    )
    yield "query_runs", INTERRUPT_COPIED, {"running": running, "queued": queued, "keep": keep}
    yield "script_runs", INTERRUPT_COPIED_SCRIPTS, {"error": script, "keep": keep}
    yield "database_sessions", CLOSE_COPIED, {"reason": CloseReason.SERVER_STOPPED}
    yield "open_connections", FORGET_OPEN, {}
