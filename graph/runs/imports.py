"""The mutation that imports the rows of a file into a table."""

from typing import Annotated

import strawberry

from db.runs import RunRow
from db.workbench.copy.import_request import ImportFormat, ImportRequest
from db.workbench.execution.request.run_request import ImportTarget, import_forbidden
from db.workbench.imports import import_rows
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import (
    argument,
    attribute,
    graphql_enum,
    mutation,
    optional,
    provided_fields,
    retry_key,
)
from graph.kit.ids import parse_id
from graph.kit.scopes import STORAGE, WORKBENCH
from graph.runs.submission import parse_destination, take_wait_ms, wait_for_end
from graph.runs.types import QueryRun

SCOPES = WORKBENCH

graphql_enum(
    "Format of a file with rows to import.",
    CSV="CSV in UTF-8, as `COPY` of PostgreSQL reads it: values in quotes may contain line breaks.",
    JSONL="JSON Lines in UTF-8: one object with column names as keys, or one array of values, per "
    "line. Nested objects and arrays are loaded as JSON text.",
    PARQUET="Apache Parquet. Requires the server extra `parquet`.",
)(ImportFormat)


@strawberry.input(description="File to import, and the table to load its rows into.")
class ImportRowsInput:
    schema_name: str = attribute("Schema of the table, such as `public`.")
    table_name: str = attribute("Name of the table or of a view that can be inserted into.")
    file_id: strawberry.ID = attribute(
        "ID of a stored file of one of the viewer's buckets or of a public one."
    )
    format: ImportFormat = attribute("Format of the file.")
    connection_id: strawberry.ID | None = optional(
        "ID of the `DatabaseConnection` to use. Pass either `connectionId` or `sessionId`."
    )
    session_id: strawberry.ID | None = optional(
        "ID of the `DatabaseSession` to load the rows in, after the statements that were sent to "
        "it before. In a transaction, the rows are loaded when it commits."
    )
    columns: list[str] | None = optional(
        "Columns to load. For CSV and JSON arrays: a column for each value of a line, in their "
        "order. For JSON objects and Parquet: the names to read; others in the file are ignored. "
        "Omit it to take the names from the header, the first JSON object or the Parquet schema, "
        "or all columns of the table if the file has no names. Columns that are not loaded get "
        "their defaults."
    )
    header: bool = optional(
        "If true, the first line of a CSV file has the names of its columns. Ignored for other "
        "formats. Defaults to true.",
        default=True,
    )
    delimiter: str | None = optional(
        "For CSV: the ASCII character between two values. Defaults to a comma."
    )
    null_text: str | None = optional(
        "For CSV: the unquoted text that stands for NULL. Defaults to the empty string."
    )
    timeout_ms: int | None = optional(
        "Timeout of the run in milliseconds, as in `executeQuery`. Large files take longer than "
        "the server default."
    )
    wait_ms: int = optional(
        "Maximum time to wait for the run to end before responding, in milliseconds, 0 to 30,000. "
        "Defaults to 0, which responds as soon as the run is started or queued.",
        default=0,
    )
    idempotency_key: str | None = retry_key("the run that the first started")


@strawberry.type(description="Payload of `importRows`.")
class ImportRowsPayload:
    run: RunRow = attribute(
        "The run that copies the rows; `rowsAffected` is their number.", type=QueryRun
    )
    replayed: bool = attribute(
        "True if `idempotencyKey` matched an earlier call and no new run was started."
    )


@strawberry.type
class Mutation:
    @mutation(
        "Starts a run that loads all rows of a file into a table, or none of them. If a row cannot "
        "be loaded, `run.error` has the reason with its `sourceLine`. Fails with `FORBIDDEN` if "
        "the connection or the session is read-only.",
        who=SignedIn,
        scopes=WORKBENCH.write | STORAGE.read,
    )
    async def import_rows(
        self, info: Info, input: Annotated[ImportRowsInput, argument("File to import.")]
    ) -> ImportRowsPayload:
        context, fields = info.context, provided_fields(input)
        wait_ms = take_wait_ms(fields)
        key = fields.pop("idempotency_key", None)
        parse_destination(fields, required=False)  # the submission requires one
        target = ImportTarget(**{name: fields.pop(name, None) for name in ImportTarget._fields})
        fields["file_id"] = parse_id("file", input.file_id, argument="fileId")
        if context.signed_in.must_read_only:
            raise import_forbidden("This access token may only read.")
        context.remember_network()
        context.release_slot()
        run, replayed = await import_rows(
            context.services, context.owner, target, ImportRequest(**fields), key=key
        )
        return ImportRowsPayload(run=await wait_for_end(context, run, wait_ms), replayed=replayed)
