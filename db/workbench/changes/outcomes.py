"""How each change has ended, from what its statement has changed."""

from collections.abc import Sequence

from db.runs import Failure
from db.workbench.changes import failures
from db.workbench.changes.change_request import RowChangeKind
from db.workbench.changes.change_result import ChangeResult, Outcome
from db.workbench.changes.query_results import StatementResult
from db.workbench.changes.statements import ChangePlanner, PlannedChange


class Outcomes:
    """The results of all changes, and why nothing was changed, if it was not."""

    def __init__(
        self,
        planner: ChangePlanner,
        planned: Sequence[PlannedChange],
        made: Sequence[StatementResult],
        failure: Failure | None,
    ) -> None:
        """`failure` is that of the statement after those of `made`."""
        self.failure = failure
        self._planner = planner
        self._planned = planned
        self.results = [
            ChangeResult(index, Outcome.NOT_APPLIED, each.statement)
            for index, each in enumerate(planned)
        ]
        for index, result in enumerate(made):
            self._record(index, result)
        if failure is not None:
            self._set(len(made), Outcome.FAILED)

    @property
    def all_applied(self) -> bool:
        return all(each.outcome == Outcome.APPLIED for each in self.results)

    @property
    def conflicts(self) -> list[int]:
        return [each.number for each in self.results if each.outcome == Outcome.CONFLICT]

    @property
    def probes(self) -> list[str]:
        """Statements that select the present rows of `conflicts`."""
        return [probe for index in self.conflicts if (probe := self._planned[index].probe)]

    def record_present(self, found: Sequence[StatementResult]) -> None:
        """Takes the results of `probes`, after the changes were undone."""
        for index, result in zip(self.conflicts, found, strict=True):
            if result.changed > 1:
                self._fail(index, failures.AMBIGUOUS)
            elif result.row is not None and result.row[-1] is True:
                self._fail(index, failures.SUPPRESSED)
            elif result.row is not None:
                self._set(index, Outcome.CONFLICT, self._planner.row(result.row[:-1]))
        if conflicts := self.conflicts:
            self.failure = failures.rows_changed(len(conflicts), len(self.results))

    def discard_applied(self) -> None:
        """The changes were undone: what they would have made is no result."""
        for result in self.results:
            if result.outcome == Outcome.APPLIED:
                self._set(result.number, Outcome.NOT_APPLIED)

    def _record(self, index: int, result: StatementResult) -> None:
        change = self._planned[index].change
        if result.changed == 1 or (result.changed and change.kind == RowChangeKind.INSERT):
            row = None if result.row is None else self._planner.row(result.row)
            self._set(index, Outcome.APPLIED, row)
        elif result.changed:
            self._fail(index, failures.AMBIGUOUS)
        elif change.kind == RowChangeKind.INSERT:
            self._fail(index, failures.SUPPRESSED)
        else:
            self._set(index, Outcome.CONFLICT)

    def _fail(self, index: int, failure: Failure) -> None:
        """The first failure is the one that the request has."""
        first = self.failure is None
        self.failure = self.failure or failure
        self._set(index, Outcome.FAILED if first else Outcome.NOT_APPLIED)

    def _set(self, index: int, outcome: Outcome, row: dict[str, object] | None = None) -> None:
        self.results[index] = self.results[index]._replace(outcome=outcome, row=row)
