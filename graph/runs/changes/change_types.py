"""Payload of `changeRows`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import strawberry

from db.runs import Failure, RunRow, RunState
from db.workbench.changes.change_request import ChangeSource
from db.workbench.changes.change_result import RowConflict as RowConflictRow
from graph.context import Info
from graph.kit.fields import attribute, field
from graph.kit.scalars import Json
from graph.runs.changes.change_answers import ChangeAnswers
from graph.runs.results.result_types import RunError
from graph.runs.types import QueryRun


@strawberry.type(
    description="A change whose row was changed or deleted since it was read, or that the role may "
    "not see any more."
)
class RowConflict:
    @field("Zero-based index of the change in `changes`.")
    def index(root: strawberry.Parent[RowConflictRow]) -> int:
        return root.number

    @field(
        "Present values of the row by column, as `QueryRun.rows` shows them. Null if there is no "
        "row with this key.",
        type=Json | None,
    )
    def row(root: strawberry.Parent[RowConflictRow]) -> dict[str, Any] | None:
        return root.row


class ChangeRowsResult(NamedTuple):
    run: RunRow
    replayed: bool


@strawberry.type(description="Payload of `changeRows`.")
class ChangeRowsPayload:
    run: RunRow = attribute(
        "The run that makes the changes: as it ended, or as it was when `waitMs` elapsed. Its "
        "result has a row for each change.",
        type=QueryRun,
    )
    replayed: bool = attribute(
        "True if `idempotencyKey` matched an earlier call and no new run was started."
    )

    @field(
        "True if all changes were made. In a session, they last when its transaction is committed. "
        "False for a dry run, if nothing was changed, and until the run has ended. If "
        "`error.code` is `UNAVAILABLE`, the outcome is unknown."
    )
    def applied(root: strawberry.Parent[ChangeRowsResult]) -> bool:
        source = ChangeSource.of(root.run)
        return root.run.state == RunState.SUCCEEDED and source is not None and not source.dry_run

    @field(
        "Values of the rows after each change by column, in the order of `changes`; null for "
        "`DELETE`. Columns that the role may not read are missing. Rows beyond 8 MiB are null, and "
        "`run.truncated` is set. Empty if nothing was changed. Null if they could not be read.",
        type=list[Json | None] | None,
    )
    async def rows(
        root: strawberry.Parent[ChangeRowsResult], info: Info
    ) -> Sequence[dict[str, Any] | None] | None:
        return (await ChangeAnswers.of_run(info.context, root.run)).rows

    @field(
        "SQL of each change with its values, in the order of `changes`. psql executes it as it is. "
        "Empty if `error` says that the table does not allow a change. Null if it could not be "
        "read.",
        type=list[str] | None,
    )
    async def statements(
        root: strawberry.Parent[ChangeRowsResult], info: Info
    ) -> Sequence[str] | None:
        return (await ChangeAnswers.of_run(info.context, root.run)).statements

    @field(
        "Changes that met another row than they expected. If there is one, nothing was changed. "
        "Null if they could not be read.",
        type=list[RowConflict] | None,
    )
    async def conflicts(
        root: strawberry.Parent[ChangeRowsResult], info: Info
    ) -> Sequence[RowConflictRow] | None:
        return (await ChangeAnswers.of_run(info.context, root.run)).conflicts

    @field(
        "Why nothing was changed, as in `run.error`: `code` is `CONFLICT` if there are "
        "`conflicts`. Null if the changes were made, and until the run has ended.",
        type=RunError | None,
    )
    def error(root: strawberry.Parent[ChangeRowsResult]) -> Failure | None:
        return root.run.parsed_error

    @field(
        "Zero-based index of the change that `error` is about. Null if there is no error, if it is "
        "about no single change, such as a deferred constraint at the commit, and if it could not "
        "be read."
    )
    async def error_index(root: strawberry.Parent[ChangeRowsResult], info: Info) -> int | None:
        return (await ChangeAnswers.of_run(info.context, root.run)).failed_index
