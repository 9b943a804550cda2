"""GraphQL types of the states, results and errors of query runs."""

import strawberry

from db.runs import Column as ColumnRow
from db.runs import RunState, TruncationReason
from graph.errors import ErrorCode
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.scalars import SafeInt

graphql_enum(
    "State of a `QueryRun` or `ScriptRun`. Every state except `QUEUED` and `RUNNING` is final.",
    QUEUED="The run waits for a free slot, or for its turn in its session.",
    RUNNING="The run connects, executes its statement or receives rows.",
    SUCCEEDED="The statement succeeded and all kept rows can be read.",
    FAILED="The run failed. `error` has the reason.",
    CANCELLED="`cancelQuery`, `cancelScript` or `explainQuery` cancelled the run, or its session "
    "was closed with the reason `CLIENT` while the statement ran.",
    TIMED_OUT="The run exceeded `timeoutMs`.",
    INTERRUPTED="The Howdah server that executed the run stopped, or its session was closed before "
    "the statement began or for another reason. `error` says which.",
)(RunState)

graphql_enum(
    "Limit that truncated a result.",
    MAX_ROWS="The statement returned more than `maxRows` rows; the rest was discarded.",
    MAX_BYTES="The rows exceeded `maxBytes`; the rest was discarded.",
    MAX_CELL="At least one value exceeded the server's limit and was shortened. All rows are kept.",
)(TruncationReason)


@strawberry.type(description="A column of a query result.")
class ResultColumn:
    name: str = attribute("Name of the column. Several columns may have the same name.")
    unique_name: str = attribute(
        "Name that no other column of the result has: `name`, numbered from its second occurrence, "
        "as in `a`, `a_2`. `RowOrder`, `RowCondition`, `columnStats` and files use it."
    )
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
    message: str = attribute("Text of the message.", long="message")
    sqlstate: str | None = attribute("SQLSTATE code of the message. Null if the server sent none.")
    detail: str | None = attribute(
        "Further detail from the server. Null if there is none.", long="detail"
    )
    hint: str | None = attribute("Suggestion from the server. Null if there is none.", long="hint")


@strawberry.type(description="Reason why a `QueryRun` did not succeed.")
class RunError:
    message: str = attribute("What happened.", long="message")
    code: str | None = attribute(
        "`TOO_LARGE` if a row was larger than the operator's limit `HOWDAH_RUN_MAX_ROW_BYTES`, so "
        "that the run was ended before the row had arrived. `explainQuery` and `changeRows` "
        "describe their codes. Null for every other reason.",
        type=ErrorCode | None,
    )
    sqlstate: str | None = attribute(
        "SQLSTATE code. Null if the error does not come from PostgreSQL."
    )
    severity: str | None = attribute(
        "`ERROR`, `FATAL` or `PANIC`. Null if the error does not come from PostgreSQL."
    )
    detail: str | None = attribute(
        "Further detail from PostgreSQL. Null if there is none.", long="detail"
    )
    hint: str | None = attribute(
        "What to do about it. Null if there is no suggestion.", long="hint"
    )
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
        "Null if PostgreSQL sent nothing.",
        long="context",
    )
    source_line: int | None = attribute(
        "Line or row of the copied data that has the error, starting at 1. Null for other errors.",
        type=SafeInt | None,
    )
    source_column: str | None = attribute(
        "Column of `sourceLine` that has the error. Null if it is not known."
    )
    script_position: int | None = attribute(
        "Position of the error in the text of the script, in Unicode characters, starting at 1. "
        "Null if the statement is not of a script, or if `position` is null."
    )
    script_line: int | None = attribute(
        "Line of `scriptPosition` in the script, starting at 1. Null if `scriptPosition` is null."
    )
    script_column: int | None = attribute(
        "Column of `scriptPosition` in its line, starting at 1. Null if `scriptPosition` is null."
    )


@strawberry.type(description="Limit that truncated the result of a `QueryRun`.")
class Truncation:
    limit: int = attribute(
        "Value of the limit: rows for `MAX_ROWS`, bytes for `MAX_BYTES`, characters of one value "
        "for `MAX_CELL`.",
        type=SafeInt,
    )
    reason: TruncationReason = attribute("Limit that was reached.")
