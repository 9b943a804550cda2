"""The fields of scripts that do not lead to their runs, and the positions of statements."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec
import strawberry

from db.connections import ConnectionRow
from db.postgres.sessions import ReadSession
from db.runs import Failure, RunRow, RunState
from db.scripts import OnError, ScriptRunRow, ScriptRuns, ScriptTransaction
from db.workbench.scripts.splitter import StatementRange as StatementRangeRow
from db.workbench.sql.statement_kind import statement_kind
from graph.connections.loaders import ConnectionById
from graph.connections.types import DatabaseConnection
from graph.context import Info
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.ids import Node
from graph.kit.loaders import BatchLoader, ById, Loader
from graph.runs.results.result_types import RunError

CHARACTERS_AT_ONCE = 20_000
"""Whose commands are named without a pause: up to 0.1 seconds."""


class ScriptById(ById[ScriptRunRow]):
    repository = ScriptRuns


class TextOfScript(Loader[UUID, str]):
    async def batch(self, session: ReadSession, keys: list[UUID]) -> Mapping[UUID, str]:
        return await ScriptRuns(session, self.context.owner).texts(keys)


graphql_enum(
    "What a script does when one of its statements fails, is cancelled or times out.",
    STOP="The script stops. With `SINGLE`, nothing of it remains; with `EACH`, what the statements "
    "before have changed remains.",
    CONTINUE="The script goes on with the next statement. With `SINGLE`, the failed statement is "
    "undone, and the others are committed together.",
)(OnError)

graphql_enum(
    "Transactions of a script.",
    EACH="Each statement is a transaction of its own, unless the script begins one, or the session "
    "has `autocommit: false`.",
    SINGLE="The whole script is one transaction, which the script itself must not control.",
)(ScriptTransaction)


@strawberry.type(
    description="Position of a statement in the text of a script. Offsets count Unicode characters "
    "from 0. In JavaScript, whose strings are UTF-16, slice `Array.from(script)`."
)
class StatementRange:
    index: int = attribute("Zero-based index of the statement in its script.")
    start: int = attribute(
        "Offset of the first character: of the statement, or of a block comment before it."
    )
    end: int = attribute("Offset after the last character. The semicolon is not included.")
    line: int = attribute("Line of `start`, starting at 1.")
    column: int = attribute("Column of `start` in its line, in Unicode characters, starting at 1.")
    kind: str = attribute(
        "Command of the statement in upper case, such as `SELECT`, `CREATE TABLE` or `BEGIN`. A "
        "`WITH` query has the command that follows it, such as `INSERT`, unless that is more than "
        "20,000 tokens behind. Empty if the statement does not begin with a word."
    )
    data_start: int | None = attribute(
        "Offset of the inline data of `COPY ... FROM STDIN`: the lines that follow the statement, "
        "up to a line with `\\.` only. Null if there is none, and in `QueryRun.statementRange`."
    )
    data_end: int | None = attribute(
        "Offset after the inline data, before the line with `\\.`. Null if `dataStart` is null."
    )


def range_of(run: RunRow, *, kind: str = "") -> StatementRangeRow | None:
    """The position of the statement of a run in its script."""
    start, end = run.statement_start, run.statement_end
    line, column = run.statement_line, run.statement_column
    if run.script_index is None or start is None or end is None or line is None or column is None:
        return None
    return StatementRangeRow(run.script_index, start, end, line, column, kind)


class RangeOfRun(BatchLoader[RunRow, StatementRangeRow]):
    """Names the commands of statements: 4 MiB of them, a page of runs, take up to 20 seconds.

    Once for all aliases, with pauses in which other operations run.
    """

    async def find(self, keys: list[RunRow]) -> Mapping[RunRow, StatementRangeRow]:
        found: dict[RunRow, StatementRangeRow] = {}
        characters = 0
        for run in keys:
            characters += len(run.statement)
            if characters > CHARACTERS_AT_ONCE:
                await asyncio.sleep(0)
                characters = len(run.statement)
            if (at := range_of(run, kind=statement_kind(run.statement))) is not None:
                found[run] = at
        return found


@strawberry.type
class ScriptFields(Node):
    state: RunState = attribute(
        "State of the script. `SUCCEEDED` means that it ran to its end: with `onError: CONTINUE` "
        "some statements may have failed (`failedCount`). `FAILED` means that it stopped, or that "
        "the transaction of `SINGLE` was not committed. Never `TIMED_OUT`."
    )
    revision: int = attribute("Incremented by every change of the script.")
    statement_count: int = attribute("Number of statements of the script.")
    current_index: int | None = attribute(
        "Zero-based index of the statement that is executed now, or of the last one that was. Null "
        "until the first has begun."
    )
    succeeded_count: int = attribute(
        "Number of statements that have succeeded. With `SINGLE`, their changes remain only if the "
        "script is `SUCCEEDED`."
    )
    failed_count: int = attribute(
        "Number of statements that have failed, were cancelled or have timed out."
    )
    on_error: OnError = attribute("What the script does when a statement fails.")
    transaction: ScriptTransaction = attribute("Transactions of the script.")
    read_only: bool = attribute("If true, every transaction of the script is read-only.")
    created_at: datetime = attribute("Time the script was accepted.")
    started_at: datetime | None = attribute("Time the first statement began. Null until then.")
    finished_at: datetime | None = attribute("Time the script ended. Null until it has.")
    expires_at: datetime | None = attribute(
        "Time the script is deleted. Quotas may delete it earlier. Null until it has ended."
    )

    @field(
        "Connection that the script runs on. Null if it was deleted.",
        type=DatabaseConnection | None,
    )
    async def connection(root: strawberry.Parent[ScriptRunRow], info: Info) -> ConnectionRow | None:
        if root.connection_id is None:
            return None
        return await ConnectionById.of(info.context).load(root.connection_id)

    @field("Text of the script as it was sent. Null if it was deleted meanwhile.", long=True)
    async def script(root: strawberry.Parent[ScriptRunRow], info: Info) -> str | None:
        return await TextOfScript.of(info.context).load(root.id)

    @field(
        "Reason why the script is `FAILED` or `INTERRUPTED`: the error of the statement at which "
        "it stopped, or of its `COMMIT`. `position` counts in the statement, `scriptPosition` in "
        "the script. Null in every other state.",
        type=RunError | None,
    )
    def error(root: strawberry.Parent[ScriptRunRow]) -> Failure | None:
        return None if root.error is None else msgspec.json.decode(root.error, type=Failure)
