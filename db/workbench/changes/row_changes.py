"""Recognizes the runs that change rows."""

from typing import TYPE_CHECKING

from db.runs import RunRow
from db.workbench.changes.change_request import ChangeSource

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.execution.statement.batch import Batch


def open_changes(run: RunRow) -> "Batch | None":
    """What a run of `changeRows` executes. None for any other run."""
    source = ChangeSource.of(run)
    if source is None:
        return None
    from db.workbench.changes.change_batch import ChangeBatch

    return ChangeBatch(run, source)
