"""Inputs and payloads of the mutations on scripts."""

import strawberry

from db.scripts import OnError, ScriptRunRow, ScriptTransaction
from graph.kit.fields import attribute, optional, redacted_repr, retry_key
from graph.runs.types import ScriptRun


@strawberry.input(description="Script to execute.")
class ExecuteScriptInput:
    __repr__ = redacted_repr  # a script may contain a password

    script: str = attribute(
        "SQL statements, separated by semicolons as for `psql`, up to 500,000 characters and 5,000 "
        "statements. The lines after `COPY ... FROM STDIN;` up to a line `\\.` are its data. "
        "Backslash commands of `psql` are refused, and its variables are not replaced."
    )
    connection_id: strawberry.ID | None = optional(
        "ID of the `DatabaseConnection` to use. A session is opened for the script and closed at "
        "its end. Pass either `connectionId` or `sessionId`."
    )
    session_id: strawberry.ID | None = optional(
        "ID of the `DatabaseSession` to execute the script in, after the statements that were sent "
        "to it before. Statements that are sent meanwhile wait until the script has ended."
    )
    on_error: OnError = optional(
        "What the script does when a statement fails. Defaults to `STOP`.", default=OnError.STOP
    )
    transaction: ScriptTransaction = optional(
        "Transactions of the script. `SINGLE` refuses a script with `BEGIN`, `COMMIT`, `SAVEPOINT` "
        "and the like, and a session with an open transaction. Defaults to `EACH`.",
        default=ScriptTransaction.EACH,
    )
    timeout_ms: int | None = optional(
        "Timeout of each statement in milliseconds. Defaults to that of the connection, or of the "
        "server."
    )
    max_rows: int | None = optional(
        "Maximum number of rows kept of each result. Defaults to the limit of the server."
    )
    read_only: bool = optional(
        "If true, every transaction of the script is read-only and is rolled back. Defaults to "
        "false, and is always true if the connection is read-only. A session decides this for all "
        "its statements.",
        default=False,
    )
    idempotency_key: str | None = retry_key("the script that the first started")


@strawberry.type(description="Payload of `executeScript`.")
class ExecuteScriptPayload:
    script_run: ScriptRunRow = attribute("The script, queued or running.", type=ScriptRun)
    replayed: bool = attribute(
        "True if `idempotencyKey` matched an earlier call and no new script was started."
    )


@strawberry.input(description="Script to cancel.")
class CancelScriptInput:
    id: strawberry.ID = attribute("ID of the script.")


@strawberry.type(description="Payload of `cancelScript`.")
class CancelScriptPayload:
    script_run: ScriptRunRow = attribute("The script, in its final state.", type=ScriptRun)
