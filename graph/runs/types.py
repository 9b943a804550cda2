"""GraphQL types of query runs and their results."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import strawberry

from db.connections import ConnectionRow
from db.database_sessions import DatabaseSessionRow
from db.kit.lists.paging import Window
from db.postgres.sessions import ReadSession
from db.runs import (
    EditableSource,
    Failure,
    RunRow,
    Runs,
    RunState,
    ScriptedRuns,
    ServerNotice,
    SessionRuns,
    Truncated,
)
from db.saved_queries import SavedQueryRow
from db.scripts import ScriptRunRow
from db.workbench.live.values import Progress, Waiting
from db.workbench.results.formats import NumberedColumn, number_columns
from db.workbench.scripts.script_steps import failure_in_script
from graph.connections.catalogue.nodes import loaded_by
from graph.connections.loaders import ConnectionById
from graph.connections.types import DatabaseConnection
from graph.context import Info
from graph.kit.fields import attribute, field
from graph.kit.ids import node
from graph.kit.loaders import ById, Loader
from graph.kit.paging import Connection, paged_by
from graph.kit.parent_lists import ListsOfParents, ParentQuery
from graph.kit.scalars import Json, SafeInt
from graph.kit.scopes import WORKBENCH
from graph.runs.live_samples import LiveSampleById, RunProgress, RunWaiting
from graph.runs.results.result_fields import ResultFields
from graph.runs.results.result_types import (
    EditableTable,
    Notice,
    ResultColumn,
    RunError,
    Truncation,
)
from graph.runs.script_fields import (
    RangeOfRun,
    ScriptById,
    ScriptFields,
    StatementRange,
    range_of,
)
from graph.runs.session_fields import DatabaseSessionById, SessionFields
from graph.saved_queries.types import SavedQuery, SavedQueryById


class RunById(ById[RunRow]):
    repository = Runs


class ActiveRuns(Loader[None, Sequence[RunRow]]):
    """Their statements may be long, and aliases may ask for them several times."""

    async def batch(
        self, session: ReadSession, keys: list[None]
    ) -> Mapping[None, Sequence[RunRow]]:
        return dict.fromkeys(keys, await Runs(session, self.context.owner).active())


class RunsOfScript(ListsOfParents[ParentQuery]):
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: ParentQuery
    ) -> Mapping[UUID, Any]:
        runs = ScriptedRuns(session, self.context.owner)
        if query.window is None:
            return await runs.count_of_scripts(parents)
        return await runs.of_scripts(parents, query.window)


class RunsOfSession(ListsOfParents[ParentQuery]):
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: ParentQuery
    ) -> Mapping[UUID, Any]:
        runs = SessionRuns(session, self.context.owner)
        if query.window is None:
            return await runs.count_of_sessions(parents)
        return await runs.of_sessions(parents, query.window)


@strawberry.type(
    description="One execution of a SQL statement on a `DatabaseConnection`, started with "
    "`executeQuery` and kept until `expiresAt`."
)
@node("run", row=RunRow, loader=RunById, scopes=WORKBENCH.read)
class QueryRun(ResultFields):
    revision: int = attribute("Incremented by every change of the run.")
    statement: str = attribute(
        "SQL statement as it was sent. For `changeRows`, a comment with the table and the numbers "
        "of changes.",
        long="statement",
    )
    read_only: bool = attribute("True if the statement runs in a read-only transaction.")
    timeout_ms: int = attribute("Timeout in milliseconds, counted from `startedAt`.")
    created_at: datetime = attribute("Time the run was accepted.")
    started_at: datetime | None = attribute("Time the run left the queue. Null if it has not.")
    finished_at: datetime | None = attribute("Time the run ended. Null until it has.")
    row_count: int = attribute(
        "Number of rows that can be read. Grows while the run is `RUNNING`.", type=SafeInt
    )
    rows_affected: int | None = attribute(
        "Number of rows the statement inserted, updated, deleted, merged or copied. Null until "
        "the run has ended and for other statements.",
        type=SafeInt | None,
    )
    command: str | None = attribute(
        "Command that PostgreSQL reports, such as `SELECT`, `INSERT` or `CREATE TABLE`. Null "
        "until the run has succeeded, and for an `EXECUTE` that a limit has stopped."
    )
    expires_at: datetime | None = attribute(
        "Time the run and its result are deleted. Quotas may delete them earlier. Null until the "
        "run has ended."
    )
    state: RunState = attribute(
        "State of the run. Every state except `QUEUED` and `RUNNING` is final."
    )

    @field(
        "Connection the statement runs on. Null if it was deleted.",
        type=DatabaseConnection | None,
        reads=["connection_id"],
    )
    async def connection(root: strawberry.Parent[RunRow], info: Info) -> ConnectionRow | None:
        if root.connection_id is None:
            return None
        return await ConnectionById.of(info.context).load(root.connection_id)

    @field(
        "Session the statement runs in. Null if it has a connection of its own, or the session was "
        "deleted.",
        type="DatabaseSession | None",
        reads=["session_id"],
    )
    async def session(root: strawberry.Parent[RunRow], info: Info) -> DatabaseSessionRow | None:
        if root.session_id is None:
            return None
        return await DatabaseSessionById.of(info.context).load(root.session_id)

    @field(
        "Script that the statement is part of. Null if there is none, or if it was deleted.",
        type="ScriptRun | None",
        reads=["script_id"],
    )
    async def script_run(root: strawberry.Parent[RunRow], info: Info) -> ScriptRunRow | None:
        if root.script_id is None:
            return None
        return await ScriptById.of(info.context).load(root.script_id)

    @field(
        "Saved query that was executed. Null if there is none, or if it was deleted. `statement` "
        "is the text that was executed, also after a change of the saved query.",
        type=SavedQuery | None,
        reads=["saved_query_id"],
    )
    async def saved_query(root: strawberry.Parent[RunRow], info: Info) -> SavedQueryRow | None:
        if root.saved_query_id is None:
            return None
        return await SavedQueryById.of(info.context).load(root.saved_query_id)

    script_index: int | None = attribute(
        "Zero-based index of the statement in its script. Null without a script, and for the "
        "`COMMIT` or `ROLLBACK` that ends a script with `transaction: SINGLE`."
    )

    @field(
        "Position of the statement in the text of its script. Null if `scriptIndex` is null.",
        type=StatementRange | None,
    )
    @loaded_by(RangeOfRun)
    def statement_range(root: strawberry.Parent[RunRow]) -> RunRow | None:
        return None if root.script_index is None else root

    @field(
        "Values of `$1`, `$2`, ... as they were sent. For `changeRows`, the changes.",
        type=list[Json | None],
        long="parameters",
    )
    def parameters(root: strawberry.Parent[RunRow]) -> list[Any]:
        return root.parsed_parameters

    @field(
        "Time since `startedAt`, or from `startedAt` to `finishedAt`, in milliseconds. Null if the "
        "run has not left the queue.",
        reads=["started_at", "finished_at"],
    )
    def elapsed_ms(root: strawberry.Parent[RunRow]) -> int | None:
        if root.started_at is None:
            return None
        end = root.finished_at or datetime.now(UTC)
        return max(0, round((end - root.started_at).total_seconds() * 1000))

    @field(
        "Columns of the result, even if it has no rows. The result of `COPY ... TO STDOUT` has one "
        "column `copy`: `text` with a row for each line, or `bytea` if the data is binary or not "
        "in UTF-8. Null if the statement returns no result or "
        "its columns are not known yet.",
        type=list[ResultColumn] | None,
    )
    def columns(root: strawberry.Parent[RunRow]) -> list[NumberedColumn] | None:
        found = root.parsed_columns
        return None if found is None else number_columns(found)

    editable: EditableSource | None = attribute(
        "Table whose rows can be changed by the key that the result has. Null if the columns come "
        "from several tables, from a view or from a table without a key, if a column of the key is "
        "missing, if a column of the table occurs twice, and until the run has succeeded.",
        type=EditableTable | None,
    )

    @field(
        "Messages that PostgreSQL sent during the run, at most the first 100, and those of Howdah, "
        "which are a `WARNING` without `sqlstate`: the first one of a `readOnly` run if its "
        "connection has `readOnlyRisks`, and the last one of a run whose statement changed only "
        "its database session, such as `SET`. While the run is "
        "`RUNNING`, they are added at most every 0.3 seconds.",
        type=list[Notice],
    )
    def notices(root: strawberry.Parent[RunRow]) -> list[ServerNotice]:
        return root.parsed_notices

    @field(
        "How far the statement is, if it is a `COPY`, `CREATE INDEX`, `REINDEX`, `VACUUM`, "
        "`CLUSTER` or `ANALYZE`. Read from the user's database only if this field is selected. "
        "Null if the run is not `RUNNING`, for every other statement, and if the database does not "
        "answer. `COPY` has progress from PostgreSQL 14, with a total if `importRows` loads a CSV "
        "file.",
        type=RunProgress | None,
    )
    async def progress(root: strawberry.Parent[RunRow], info: Info) -> Progress | None:
        progress = (await LiveSampleById.of_run(info.context, root)).progress
        if progress is None or root.source_bytes is None or progress.total is not None:
            return progress
        return progress._replace(total=root.source_bytes)  # PostgreSQL does not know it

    @field(
        "What the statement waits for, such as a lock. Read from the user's database only if this "
        "field is selected. Null if the run is not `RUNNING`, while its statement works, and if "
        "the database does not answer.",
        type=RunWaiting | None,
    )
    async def waiting(root: strawberry.Parent[RunRow], info: Info) -> Waiting | None:
        return (await LiveSampleById.of_run(info.context, root)).waiting

    @field("Limit that truncated the result. Null if it is complete.", type=Truncation | None)
    def truncated(root: strawberry.Parent[RunRow]) -> Truncated | None:
        return root.parsed_truncated

    @field(
        "Reason why the run did not succeed. Null if it succeeded or has not ended, and for a "
        "`CANCELLED` run, unless its statement had ended before.",
        type=RunError | None,
    )
    def error(root: strawberry.Parent[RunRow]) -> Failure | None:
        failure = root.parsed_error
        return None if failure is None else failure_in_script(failure, range_of(root))


@strawberry.type(
    description="A connection to one of the viewer's databases that is held from `openSession` "
    "until it is closed, with its transaction, settings, temporary tables and locks. It executes "
    "one statement at a time, in the order in which they were sent."
)
@node("session", row=DatabaseSessionRow, loader=DatabaseSessionById, scopes=WORKBENCH.read)
class DatabaseSession(SessionFields):
    @field("Query runs of the session, newest first.", type=Connection[QueryRun], reads=["id"])
    @paged_by(RunsOfSession)
    def runs(root: strawberry.Parent[DatabaseSessionRow], window: Window) -> ParentQuery:
        return ParentQuery(root.id, window)


@strawberry.type(
    description="One execution of a script, started with `executeScript` and kept until "
    "`expiresAt`. Each of its statements is a `QueryRun` with its own result."
)
@node("script", row=ScriptRunRow, loader=ScriptById, scopes=WORKBENCH.read)
class ScriptRun(ScriptFields):
    @field(
        "Session that executes the script. Null until a session was opened for it, and if the "
        "session was deleted.",
        type=DatabaseSession | None,
    )
    async def session(
        root: strawberry.Parent[ScriptRunRow], info: Info
    ) -> DatabaseSessionRow | None:
        if root.session_id is None:
            return None
        return await DatabaseSessionById.of(info.context).load(root.session_id)

    @field(
        "Query runs of the statements that have begun, in the order of the script.",
        type=Connection[QueryRun],
        reads=["id"],
    )
    @paged_by(RunsOfScript)
    def runs(root: strawberry.Parent[ScriptRunRow], window: Window) -> ParentQuery:
        return ParentQuery(root.id, window)
