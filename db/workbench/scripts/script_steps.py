"""The steps of a script: which statement comes next, and what its outcome means for the script.

`transaction: SINGLE` is BEGIN before the first statement and COMMIT, or ROLLBACK, after the last.
With `onError: CONTINUE` a savepoint before each statement undoes those that fail.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from db.runs import Failure, RunRow, RunState
from db.scripts import OnError, ScriptProgress, ScriptState, ScriptTransaction
from db.workbench.scripts.splitter import StatementRange

COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"
_SAVE = "SAVEPOINT howdah_script"
_SAVE_AGAIN = "RELEASE howdah_script; SAVEPOINT howdah_script"
_UNDO = "ROLLBACK TO howdah_script"


class Step(NamedTuple):
    """A statement to execute, and what is sent before it: BEGIN, then the prelude."""

    statement: str
    prelude: str | None = None
    at: StatementRange | None = None
    """None for the end of the transaction of the script."""
    data: str | None = None
    """The inline data of a COPY."""
    begins: bool = False
    """Whether the transaction of the script begins with it."""


class ScriptSteps:
    """The state of a script between its statements, without a connection."""

    def __init__(
        self,
        script: str,
        ranges: Sequence[StatementRange],
        *,
        on_error: str,
        transaction: str,
    ) -> None:
        self.failure: Failure | None = None
        """Why the script stopped; positions count in the statement and in the script."""
        self.is_cancelled = False
        self._script = script
        self._ranges = ranges
        self._continues = on_error == OnError.CONTINUE
        self._is_single = transaction == ScriptTransaction.SINGLE
        self._next = 0
        self._succeeded = 0
        self._failed = 0
        self._last_failed = False
        self._has_ended = False
        """Whether the end of the transaction was sent."""

    @property
    def progress(self) -> ScriptProgress:
        """After the last step that was recorded."""
        return ScriptProgress(max(0, self._next - 1), self._succeeded, self._failed)

    def progress_at(self, step: Step) -> ScriptProgress:
        """When the step begins."""
        if step.at is None:
            return self.progress
        return self.progress._replace(current_index=step.at.index)

    @property
    def state(self) -> ScriptState:
        """The terminal state once there is no next step."""
        if self.is_cancelled:
            return ScriptState.CANCELLED
        return ScriptState.SUCCEEDED if self.failure is None else ScriptState.FAILED

    def next_step(self) -> Step | None:
        """The step to execute now; None at the end."""
        is_stopped = self.is_cancelled or self.failure is not None
        if not is_stopped and self._next < len(self._ranges):
            return self._statement()
        if not self._is_single or self._has_ended or not self._next:
            return None
        if is_stopped:
            return Step(ROLLBACK)
        return Step(COMMIT, prelude=_UNDO if self._last_failed else None)

    def record(self, step: Step, run: RunRow) -> None:
        """Takes the outcome of a step."""
        succeeded = run.state == RunState.SUCCEEDED
        if step.at is None:
            self._has_ended = True
            if step.statement == COMMIT and not succeeded:
                self.failure = failure_in_script(run.parsed_error or _unknown(run), None)
            return
        self._next += 1
        self._succeeded += succeeded
        self._failed += not succeeded
        self._last_failed = not succeeded
        if not succeeded and not self._continues:
            self.failure = failure_in_script(run.parsed_error or _unknown(run), step.at)

    def _statement(self) -> Step:
        at = self._ranges[self._next]
        data = None if at.data_start is None else self._script[at.data_start : at.data_end]
        return Step(
            self._script[at.start : at.end],
            self._prelude(),
            at,
            data,
            begins=self._is_single and self._next == 0,
        )

    def _prelude(self) -> str | None:
        if not self._is_single or not self._continues:
            return None
        if self._next == 0:
            return _SAVE
        return _UNDO if self._last_failed else _SAVE_AGAIN


def failure_in_script(failure: Failure, at: StatementRange | None) -> Failure:
    """Adds the position in the text of the script to the error of a statement."""
    if at is None or failure.position is None or failure.line is None or failure.column is None:
        return failure
    first_line = failure.line == 1
    return msgspec.structs.replace(
        failure,
        script_position=at.start + failure.position,
        script_line=at.line + failure.line - 1,
        script_column=failure.column + (at.column - 1 if first_line else 0),
    )


def _unknown(run: RunRow) -> Failure:
    return Failure(
        message=f"A statement of the script is {run.state}.",
        hint="Check what the statement changed before you run it again.",
    )
