"""What a run that changes rows keeps as its result: a row for each change."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from db.row_scans.type_oids import INT4, JSON, TEXT
from db.runs import Column


class Outcome(StrEnum):
    """How a change ended. A dry run has the outcomes that the changes would have."""

    APPLIED = "APPLIED"
    CONFLICT = "CONFLICT"
    """The row was changed or deleted since it was read."""
    FAILED = "FAILED"
    NOT_APPLIED = "NOT_APPLIED"
    """Another change had a conflict or failed."""


class ChangeResult(NamedTuple):
    """`row` has the new values of an applied change, or the present values of a conflict.

    `number` counts from 0.
    """

    number: int
    outcome: str
    statement: str | None = None
    row: dict[str, Any] | None = None

    def to_cells(self) -> tuple[int, str, str | None, str | None]:
        """The row of the result."""
        row = None if self.row is None else msgspec.json.encode(self.row).decode()
        return self.number, self.outcome, self.statement, row


RESULT_COLUMNS = [
    Column(name="change", type="int4", type_oid=INT4),
    Column(name="outcome", type="text", type_oid=TEXT),
    Column(name="statement", type="text", type_oid=TEXT),
    Column(name="row", type="json", type_oid=JSON),
]

_decode = msgspec.json.Decoder(tuple[int, str, str | None, str | None]).decode


class RowConflict(NamedTuple):
    """A change whose row was changed or deleted, with the present values; None if it is gone."""

    number: int
    row: dict[str, Any] | None


class ChangeAnswer(NamedTuple):
    """What `changeRows` answers, read from the result of its run."""

    rows: Sequence[dict[str, Any] | None] = ()
    statements: Sequence[str] = ()
    conflicts: Sequence[RowConflict] = ()
    failed_index: int | None = None


def parse_answer(lines: Iterable[bytes]) -> ChangeAnswer:
    """Takes the rows of the result, each as a line of JSON."""
    found = [_result_of(line) for line in lines]
    all_applied = all(each.outcome == Outcome.APPLIED for each in found)
    return ChangeAnswer(
        rows=[each.row for each in found] if all_applied else [],
        statements=[each.statement for each in found if each.statement is not None],
        conflicts=[
            RowConflict(each.number, each.row) for each in found if each.outcome == Outcome.CONFLICT
        ],
        failed_index=next((each.number for each in found if each.outcome == Outcome.FAILED), None),
    )


def _result_of(line: bytes) -> ChangeResult:
    number, outcome, statement, row = _decode(line)
    values = None if row is None else msgspec.json.decode(row)
    return ChangeResult(number, outcome, statement, values)
