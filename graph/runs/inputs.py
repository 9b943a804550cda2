"""Inputs and payloads of the mutations on query runs."""

import strawberry

from db.runs import CancelOutcome, RunRow
from db.storage import FileRow
from db.workbench.results.formats import ResultFormat
from graph.kit.fields import attribute, graphql_enum, optional, redacted_repr, retry_key
from graph.kit.scalars import Json
from graph.runs.types import QueryRun
from graph.storage.types import File

graphql_enum(
    "Result of cancelling a query run.",
    CANCELLED="The run ended in response to the cancel request.",
    ALREADY_FINISHED="The run had already ended, so the request had no effect.",
    TERMINATED="The statement ignored the cancel request, so its connection was terminated.",
)(CancelOutcome)


@strawberry.input(description="Statement to execute, with its parameters and limits.")
class ExecuteQueryInput:
    __repr__ = redacted_repr  # a statement may contain a password

    statement: str | None = optional(
        "A single SQL statement of up to 500,000 characters, as far as the request holds them: its "
        "body has at most 1 MB. Write `$1`, `$2`, ... for parameters. Required without "
        "`savedQueryId`; with it, it is executed instead of the saved text, such as one that is "
        "edited and not saved yet."
    )
    saved_query_id: strawberry.ID | None = optional(
        "ID of the `SavedQuery` to execute, on its connection unless `connectionId` or `sessionId` "
        "is set, with the defaults of its parameters for values that are not passed."
    )
    connection_id: strawberry.ID | None = optional(
        "ID of the `DatabaseConnection` to use. Pass either `connectionId` or `sessionId`, or "
        "neither if `savedQueryId` has a connection."
    )
    session_id: strawberry.ID | None = optional(
        "ID of the `DatabaseSession` to execute the statement in, after those that were sent to it "
        "before."
    )
    parameters: list[Json | None] | None = optional(
        "Values of `$1`, `$2`, ..., at most 1,000. PostgreSQL infers their types from the "
        "statement; write `$1::int8` to set one. A list is an SQL array where the statement "
        "expects one, and JSON where it does not."
    )
    named_parameters: Json | None = optional(
        "Values by the names of the parameters of the saved query, as a JSON object such as "
        '`{"since": "2026-01-01"}`. Pass either this or `parameters`. Requires `savedQueryId`.'
    )
    timeout_ms: int | None = optional(
        "Timeout of the run in milliseconds, starting when it leaves the queue. Omit it to use "
        "`statementTimeoutMs` of the connection, or else the server default. The operator sets "
        "the maximum."
    )
    max_rows: int | None = optional(
        "Maximum number of rows to keep; further rows are discarded. Omit it to use the limit "
        "set by the operator, which is also the maximum."
    )
    max_bytes: int | None = optional(
        "Maximum size of the rows to keep, in bytes of JSON. Omit it to use the limit set by the "
        "operator, which is also the maximum."
    )
    read_only: bool = optional(
        "If true, the statement runs in a read-only transaction, which is rolled back. Defaults "
        "to false, and is always true if the connection is read-only. A session decides this for "
        "all its statements.",
        default=False,
    )
    wait_ms: int = optional(
        "Maximum time to wait for the run to end before responding, in milliseconds, 0 to 30,000. "
        "Defaults to 0, which responds as soon as the run is started or queued.",
        default=0,
    )
    idempotency_key: str | None = retry_key("the run that the first started")


@strawberry.input(description="Query run to cancel.")
class CancelQueryInput:
    id: strawberry.ID = attribute("ID of the query run to cancel.")


@strawberry.input(description="Query run to delete.")
class DeleteQueryRunInput:
    id: strawberry.ID = attribute("ID of the query run to delete.")


@strawberry.input(description="Result to export, and the file to write it to.")
class ExportQueryRunInput:
    """Validated by `db.workbench.exports` and `db.storage`."""

    id: strawberry.ID = attribute("ID of the query run. It must have ended and have columns.")
    bucket_id: strawberry.ID = attribute("ID of the bucket to write to.")
    location: str = attribute(
        "Path of the new file in the bucket, such as `reports/2026/May.csv`. Up to 1000 "
        "characters. It must not exist yet."
    )
    format: ResultFormat = attribute("File format.")
    spreadsheet_safe: bool = optional(
        "If true, an apostrophe is put before each CSV value that a spreadsheet would run as a "
        "formula: text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return and is not "
        "a number. Ignored for other formats. Defaults to true.",
        default=True,
    )
    desired_replicas: int = optional(
        "Number of storage providers that keep a copy of the file, 0 to 20. Defaults to 0.",
        default=0,
    )
    idempotency_key: str | None = retry_key("the file that the first wrote")


@strawberry.type(description="Payload of `executeQuery`.")
class ExecuteQueryPayload:
    run: RunRow = attribute(
        "The run: started or queued, or as it was when it ended or `waitMs` elapsed.",
        type=QueryRun,
    )
    replayed: bool = attribute(
        "True if `idempotencyKey` matched an earlier call and no new run was started."
    )


@strawberry.type(description="Payload of `cancelQuery`.")
class CancelQueryPayload:
    run: RunRow = attribute("The run, in its final state.", type=QueryRun)
    latency_ms: int = attribute(
        "Time from the cancel request to the end of the run, in milliseconds."
    )
    connection_usable: bool = attribute(
        "True if the connection that ran the statement returned to the pool. False if it was "
        "closed; the next statement opens another."
    )
    outcome: str = attribute("How the run ended.", type=CancelOutcome)


@strawberry.type(description="Payload of `deleteQueryRun`.")
class DeleteQueryRunPayload:
    deleted_query_run_id: strawberry.ID = attribute("ID of the deleted query run.")


@strawberry.type(description="Payload of `exportQueryRun`.")
class ExportQueryRunPayload:
    file: FileRow = attribute("The new file, with status `STORED`.", type=File)
