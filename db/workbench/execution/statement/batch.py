"""Statements of ours that a run executes in one transaction, instead of its own statement."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from db.runs import Ending
from db.workbench.connections.libpq import Connection
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.reading.result_reader import ResultReader
from db.workbench.results.spool import Spool


class BatchContext(NamedTuple):
    """What a batch has of its run."""

    reader: ResultReader
    """Has the notices; the batch sets its columns and when it was sent."""
    spool: Spool
    throttle: ReadThrottle
    is_stopped: Callable[[], bool]


class Batch(Protocol):
    has_changed: bool
    """Whether `execute` has made changes that last."""

    async def execute(self, connection: Connection, context: BatchContext) -> Ending:
        """Makes all changes, or none. Inside a transaction of the user, it joins that."""

    async def undo(self, connection: Connection) -> None:
        """Undoes what a batch that was stopped has left, as `execute` does after a failure.

        Called when nothing is executing any more.
        """
