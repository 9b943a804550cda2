"""GraphQL types of query runs and their results."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
import strawberry

from db.connections import ConnectionRow
from db.database_sessions import DatabaseSessionRow
from db.errors import BadInput
from db.kit.paging import Window
from db.runs import Column as ColumnRow
from db.runs import (
    EditableSource,
    Failure,
    RunFilter,
    RunRow,
    Runs,
    RunState,
    ServerNotice,
    Truncated,
    TruncationReason,
)
from db.workbench.live.values import Progress, Waiting
from db.workbench.results.copied_bytes import is_copied
from db.workbench.results.formats import ResultFormat, require_format
from graph.connections.loaders import ConnectionById
from graph.connections.types import DatabaseConnection
from graph.context import Info
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.ids import Node, node
from graph.kit.loaders import ById
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scalars import Json, Row, SafeInt
from graph.kit.scopes import WORKBENCH
from graph.kit.signed_links import sign_link
from graph.runs.live_samples import LiveSampleById, RunProgress, RunWaiting
from graph.runs.row_budget import RowBudget
from graph.runs.session_fields import SessionById, SessionFields
from graph.transport.files.result_routes import result_path

DOWNLOAD_TTL = timedelta(hours=1)


class RunById(ById[RunRow]):
    repository = Runs


graphql_enum(
    "State of a `QueryRun`. Every state except `QUEUED` and `RUNNING` is final.",
    QUEUED="The run waits for a free slot.",
    RUNNING="The run connects, executes its statement or receives rows.",
    SUCCEEDED="The statement succeeded and all kept rows can be read.",
    FAILED="The run failed. `error` has the reason.",
    CANCELLED="The viewer cancelled the run with `cancelQuery`.",
    TIMED_OUT="The run exceeded `timeoutMs`.",
    INTERRUPTED="The Howdah server that executed the run stopped.",
)(RunState)

graphql_enum(
    "Limit that truncated a result.",
    MAX_ROWS="The statement returned more than `maxRows` rows; the rest was discarded.",
    MAX_BYTES="The rows exceeded `maxBytes`; the rest was discarded.",
    MAX_CELL="At least one value exceeded the server's limit and was shortened. All rows are kept.",
)(TruncationReason)

graphql_enum(
    "File format of a downloaded or exported result.",
    CSV='CSV as in RFC 4180, with a header line. NULL is an empty field, an empty string is `""`.',
    JSONL="JSON Lines: one JSON object per row, with the column names as keys.",
    PARQUET="Apache Parquet. `boolean`, `int2`, `int4`, `float4` and `float8` keep their types; "
    "every other type is a string. Requires the server extra `parquet`.",
    RAW="The bytes of `COPY ... TO STDOUT` as PostgreSQL sent them: text, CSV or binary.",
)(ResultFormat)


@strawberry.type(description="A column of a query result.")
class ResultColumn:
    name: str = attribute("Name of the column. Several columns may have the same name.")
    type_oid: int = attribute("OID of the column's PostgreSQL type.", type=SafeInt)
    table: str | None = attribute(
        "Table that the column comes from, as `schema.table`. Null for computed columns and until "
        "the run has succeeded. Names are quoted where SQL needs it."
    )
    schema_name: str | None = attribute(
        "Name of the schema of `table`, without quotes. Null if `table` is null."
    )
    table_name: str | None = attribute(
        "Name of `table` itself, without quotes. Null if `table` is null."
    )
    column_name: str | None = attribute(
        "Name of the column in `table`; `name` differs from it if the statement renames the "
        "column. Null if `table` is null."
    )
    is_key: bool = attribute(
        "True if the column belongs to the key of its table: its primary key, or else a unique "
        "index whose columns are `NOT NULL`. False until the run has succeeded."
    )
    nullable: bool | None = attribute(
        "False if the column of `table` has a `NOT NULL` constraint; an outer join can still "
        "return NULL. Null if it is not known."
    )

    @field(
        "Name of the column's type, such as `int4` or `text[]`. Types that are not built into "
        "PostgreSQL are an empty string until the run has succeeded."
    )
    def type(root: strawberry.Parent[ColumnRow]) -> str:
        return root.type


@strawberry.type(
    description="The table whose rows a result shows. Each row of the result has its key."
)
class EditableTable:
    schema_name: str = attribute("Name of the schema, without quotes.")
    table_name: str = attribute("Name of the table, without quotes.")
    key_columns: list[str] = attribute(
        "Names in the table of the columns that identify a row. The result has all of them."
    )


@strawberry.type(
    description="A message that the PostgreSQL server sent while it executed the statement."
)
class Notice:
    severity: str = attribute("Severity: `DEBUG`, `LOG`, `INFO`, `NOTICE` or `WARNING`.")
    message: str = attribute("Text of the message.")
    sqlstate: str | None = attribute("SQLSTATE code of the message. Null if the server sent none.")
    detail: str | None = attribute("Further detail from the server. Null if there is none.")
    hint: str | None = attribute("Suggestion from the server. Null if there is none.")


@strawberry.type(description="Reason why a `QueryRun` did not succeed.")
class RunError:
    message: str = attribute("What happened.")
    code: str | None = attribute(
        "`TOO_LARGE` if a row was larger than the operator's limit `HOWDAH_RUN_MAX_ROW_BYTES`, so "
        "that the run was ended before the row had arrived. Null for every other reason."
    )
    sqlstate: str | None = attribute(
        "SQLSTATE code. Null if the error does not come from PostgreSQL."
    )
    severity: str | None = attribute(
        "`ERROR`, `FATAL` or `PANIC`. Null if the error does not come from PostgreSQL."
    )
    detail: str | None = attribute("Further detail from PostgreSQL. Null if there is none.")
    hint: str | None = attribute("What to do about it. Null if there is no suggestion.")
    constraint: str | None = attribute("Name of the violated constraint. Null if there is none.")
    position: int | None = attribute(
        "Position of the error in `statement`, in Unicode characters, starting at 1. Null if the "
        "error has no position, for example inside a function."
    )
    line: int | None = attribute("Line of `position`, starting at 1. Null if `position` is null.")
    column: int | None = attribute(
        "Column of `position` in its line, in Unicode characters, starting at 1. Null if "
        "`position` is null."
    )
    context: str | None = attribute(
        "Where the error occurred, in PostgreSQL's words, such as the functions that were called. "
        "Null if PostgreSQL sent nothing."
    )
    source_line: int | None = attribute(
        "Line or row of the copied data that has the error, starting at 1. Null for other errors.",
        type=SafeInt | None,
    )
    source_column: str | None = attribute(
        "Column of `sourceLine` that has the error. Null if it is not known."
    )


@strawberry.type(description="Limit that truncated the result of a `QueryRun`.")
class Truncation:
    limit: int = attribute(
        "Value of the limit: rows for `MAX_ROWS`, bytes for `MAX_BYTES`, characters of one value "
        "for `MAX_CELL`.",
        type=SafeInt,
    )
    reason: TruncationReason = attribute("Limit that was reached.")


class RowPageRow(NamedTuple):
    """`lines` holds one JSON list for each row."""

    offset: int
    lines: list[bytes]
    has_more: bool


@strawberry.type(description="A page of rows of a query result.")
class RowPage:
    offset: int = attribute("Zero-based index of the first row of this page in the result.")
    has_more: bool = attribute(
        "True if more rows follow. During a run: more of the rows received so far."
    )

    @field("Rows of the page, each a list of values in the order of `columns`.", type=list[Row])
    def rows(root: strawberry.Parent[RowPageRow]) -> list[msgspec.Raw]:
        return [msgspec.Raw(line) for line in root.lines]


@strawberry.type(
    description="One execution of a SQL statement on a `DatabaseConnection`, started with "
    "`executeQuery` and kept until `expiresAt`."
)
@node("run", row=RunRow, loader=RunById, scopes=WORKBENCH.read)
class QueryRun(Node):
    revision: int = attribute("Incremented by every change of the run.")
    statement: str = attribute("SQL statement as it was sent.")
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
        "until the run has succeeded."
    )
    expires_at: datetime | None = attribute(
        "Time the run and its result are deleted. Quotas may delete them earlier. Null until the "
        "run has ended."
    )
    state: RunState = attribute(
        "State of the run. Every state except `QUEUED` and `RUNNING` is final."
    )

    @field(
        "Connection the statement runs on. Null if it was deleted.", type=DatabaseConnection | None
    )
    async def connection(root: strawberry.Parent[RunRow], info: Info) -> ConnectionRow | None:
        if root.connection_id is None:
            return None
        return await ConnectionById.of(info.context).load(root.connection_id)

    @field(
        "Session the statement runs in. Null if it has a connection of its own, or the session was "
        "deleted.",
        type="DatabaseSession | None",
    )
    async def session(root: strawberry.Parent[RunRow], info: Info) -> DatabaseSessionRow | None:
        if root.session_id is None:
            return None
        return await SessionById.of(info.context).load(root.session_id)

    @field("Values of `$1`, `$2`, ... as they were sent.", type=list[Json | None])
    def parameters(root: strawberry.Parent[RunRow]) -> list[Any]:
        return root.parsed_parameters

    @field(
        "Time since `startedAt`, or from `startedAt` to `finishedAt`, in milliseconds. Null if the "
        "run has not left the queue."
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
    def columns(root: strawberry.Parent[RunRow]) -> list[ColumnRow] | None:
        return root.parsed_columns

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
        "Reason why the run did not succeed. Null if it succeeded or has not ended.",
        type=RunError | None,
    )
    def error(root: strawberry.Parent[RunRow]) -> Failure | None:
        return root.parsed_error

    @field(
        "A page of the rows, also readable while the run is `RUNNING`. A page holds at most 8 MiB "
        "and one operation at most 32 MiB, so a page of large rows may be shorter than `first`. "
        "Null if the rows could not be read.",
        type=RowPage | None,
    )
    async def rows(
        root: strawberry.Parent[RunRow],
        info: Info,
        first: Annotated[int, argument("Number of rows to return, 1 to 1000.")],
        offset: Annotated[
            int, argument("Zero-based index of the first row to return. Defaults to 0.")
        ] = 0,
    ) -> RowPageRow:
        context = info.context
        _require_between("first", first, 1, context.services.settings.max_page_size)
        _require_between("offset", offset, 0, 2**31 - 1)
        end = min(offset + first, root.row_count)
        lines = []
        if offset < end:
            lines = await RowBudget.of(context).read(root.id, offset=offset, first=end - offset)
        return RowPageRow(offset, lines, has_more=offset + len(lines) < root.row_count)

    @field(
        "Signed URL to download the whole result with `GET`, valid for one hour, until the viewer "
        "signs out. Null until the run has ended, if it has no columns, and for `RAW` if its "
        "statement is not a `COPY ... TO STDOUT` that succeeded."
    )
    def download_url(
        root: strawberry.Parent[RunRow],
        info: Info,
        format: Annotated[ResultFormat, argument("File format.")],
        spreadsheet_safe: Annotated[  # noqa: FBT002 - an argument of GraphQL, passed by name
            bool,
            argument(
                "If true, an apostrophe is put before each CSV value that a spreadsheet would run "
                "as a formula. Ignored for other formats. Defaults to true."
            ),
        ] = True,
    ) -> str | None:
        if not root.is_finished or root.columns is None:
            return None
        if format == ResultFormat.RAW and not is_copied(root):
            return None
        require_format(format)
        path = result_path(root.id, format, spreadsheet_safe=spreadsheet_safe)
        return sign_link(info.context, "GET", path, expires_in=DOWNLOAD_TTL)


@strawberry.type(
    description="A connection to one of the viewer's databases that is held from `openSession` "
    "until it is closed, with its transaction, settings, temporary tables and locks. It executes "
    "one statement at a time, in the order in which they were sent."
)
@node("session", row=DatabaseSessionRow, loader=SessionById, scopes=WORKBENCH.read)
class DatabaseSession(SessionFields):
    @field("Query runs of the session, newest first.", type=Connection[QueryRun])
    @paged
    async def runs(
        root: strawberry.Parent[DatabaseSessionRow], info: Info, window: Window
    ) -> Listing:
        context, filters = info.context, RunFilter(session_id=root.id)
        page = await context.read(Runs, lambda runs: runs.page(window, filters))
        return Listing(page, lambda: context.read(Runs, lambda runs: runs.count(filters)))


def _require_between(field_name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadInput(
            f"`{field_name}` is not between {low} and {high}.",
            hint=f"Pass a value between {low} and {high}, and page with `offset`.",
            field=field_name,
        )
