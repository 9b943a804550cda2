"""Inputs and payloads of the mutations on database sessions."""

import strawberry

from db.database_sessions import DatabaseSessionRow, IsolationLevel
from db.runs import RunRow
from graph.kit.fields import attribute, optional, retry_key
from graph.runs.types import DatabaseSession, QueryRun


@strawberry.input(description="Session to open.")
class OpenSessionInput:
    connection_id: strawberry.ID = attribute("ID of the `DatabaseConnection` to use.")
    name: str | None = optional(
        "Name of the session, 1 to 200 characters. Defaults to the name of the connection."
    )
    autocommit: bool = optional(
        "If false, a transaction begins before the first statement, and before the first one after "
        "each transaction. Defaults to true: a transaction begins with `BEGIN` only.",
        default=True,
    )
    read_only: bool = optional(
        "If true, every transaction of the session is read-only and is rolled back at its end. "
        "Defaults to false, and is always true if the connection is read-only.",
        default=False,
    )
    isolation_level: IsolationLevel | None = optional(
        "Default isolation level of the transactions. Omit it to use the default of the server."
    )
    idle_timeout_ms: int | None = optional(
        "Time without a statement after which the session is closed, in milliseconds, from 1,000. "
        "Omit it to use the default; the operator sets both the default and the maximum."
    )
    transaction_timeout_ms: int | None = optional(
        "Duration of a transaction after which the session is closed, in milliseconds, from 1,000. "
        "Omit it to use the default; the operator sets both the default and the maximum."
    )
    idempotency_key: str | None = retry_key("the session that the first opened")


@strawberry.input(description="Session whose transaction to commit.")
class CommitTransactionInput:
    session_id: strawberry.ID = attribute("ID of the `DatabaseSession`.")


@strawberry.input(description="Session whose transaction to roll back.")
class RollbackTransactionInput:
    session_id: strawberry.ID = attribute("ID of the `DatabaseSession`.")


@strawberry.input(description="Session to close.")
class CloseSessionInput:
    session_id: strawberry.ID = attribute("ID of the `DatabaseSession`.")


@strawberry.type(description="Payload of `openSession`.")
class OpenSessionPayload:
    session: DatabaseSessionRow = attribute("The session.", type=DatabaseSession)


@strawberry.type(description="Payload of `commitTransaction`.")
class CommitTransactionPayload:
    session: DatabaseSessionRow = attribute("The session after the commit.", type=DatabaseSession)
    run: RunRow = attribute(
        "The run of `COMMIT`. Its `command` is `ROLLBACK` if the transaction had failed, and its "
        "`error` is set if PostgreSQL refused to commit.",
        type=QueryRun,
    )


@strawberry.type(description="Payload of `rollbackTransaction`.")
class RollbackTransactionPayload:
    session: DatabaseSessionRow = attribute("The session after the rollback.", type=DatabaseSession)
    run: RunRow = attribute("The run of `ROLLBACK`.", type=QueryRun)


@strawberry.type(description="Payload of `closeSession`.")
class CloseSessionPayload:
    session: DatabaseSessionRow = attribute("The closed session.", type=DatabaseSession)
