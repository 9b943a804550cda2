"""What is asked about runs, and what mutations answer."""

from enum import Enum

import strawberry

from db.runs import RunRow
from db.storage import FileRow
from graph.kit.fields import attribute, enum_value, optional
from graph.kit.scalars import Json
from graph.runs.types import QueryRun, ResultFormat
from graph.storage.types import File


@strawberry.enum(description="What has come of a cancel.")
class CancelOutcome(Enum):
    """As runners say it too."""

    CANCELLED = enum_value("CANCELLED", "The statement ended as it was asked to.")
    ALREADY_FINISHED = enum_value("ALREADY_FINISHED", "It had ended before.")
    TERMINATED = enum_value("TERMINATED", "It did not listen, so its connection was ended.")


@strawberry.input(description="A statement to run.")
class ExecuteQueryInput:
    """Checked in db.workbench.execution.run_request."""

    connection_id: strawberry.ID = attribute("On which of my connections.")
    statement: str = attribute("One statement, with $1, $2 ... for parameters.")
    parameters: list[Json | None] | None = optional(
        "The values of $1, $2 ...; the server takes their types from where they stand."
    )
    timeout_ms: int | None = optional("How long it may take at most.")
    max_rows: int | None = optional("How many rows to keep at most.")
    max_bytes: int | None = optional("How many bytes of rows to keep at most.")
    read_only: bool | None = optional("Keep it from changing anything.")
    wait_ms: int | None = optional("Answer when it has ended, after so long at most: 0..30000.")
    idempotency_key: str | None = optional("Makes a retry safe: one key, one run, for 24 hours.")


@strawberry.input(description="A run to cancel.")
class CancelQueryInput:
    """Names it."""

    id: strawberry.ID = attribute("Which run.")


@strawberry.input(description="A run to delete.")
class DeleteQueryRunInput:
    """Names it."""

    id: strawberry.ID = attribute("Which run.")


@strawberry.input(description="A result to write into a bucket.")
class ExportQueryRunInput:
    """Checked in db.workbench.exports and db.storage."""

    id: strawberry.ID = attribute("Which run; it must have ended.")
    bucket_id: strawberry.ID = attribute("Into which of my buckets.")
    location: str = attribute("Its path there, such as `reports/2026/May.csv`.")
    format: ResultFormat = attribute("As what.")
    desired_replicas: int = optional("How many providers shall keep a copy.", default=0)
    idempotency_key: str | None = optional("Makes a retry safe: one key, one file, for 24 hours.")


@strawberry.type(description="The run that was started.")
class ExecuteQueryPayload:
    """Holds it."""

    run: RunRow = attribute("The run as it is now.", type=QueryRun)
    replayed: bool = attribute("Whether it had been started before under the same key.")


@strawberry.type(description="What has come of a cancel.")
class CancelQueryPayload:
    """Read from a CancelResult."""

    run: RunRow = attribute("The run as it is now.", type=QueryRun)
    latency_ms: int = attribute("How long it took to end.")
    connection_usable: bool = attribute(
        "Whether its connection serves on; else another takes over."
    )
    outcome: CancelOutcome = attribute("Whether it ended by itself.")


@strawberry.type(description="The run that was deleted.")
class DeleteQueryRunPayload:
    """Names it."""

    deleted_query_run_id: strawberry.ID = attribute("The id it had.")


@strawberry.type(description="The file that was written.")
class ExportQueryRunPayload:
    """Holds it."""

    file: FileRow = attribute("The new file, STORED.", type=File)
