"""The fields of database sessions that do not lead to their runs."""

from datetime import datetime

import strawberry

from db.connections import ConnectionRow
from db.database_sessions import (
    CloseReason,
    DatabaseSessionRow,
    DatabaseSessions,
    IsolationLevel,
    SessionState,
)
from db.workbench.sessions.locks import HeldLock
from graph.connections.loaders import ConnectionById
from graph.connections.types import DatabaseConnection
from graph.context import Info
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.ids import Node
from graph.kit.loaders import ById
from graph.runs.session_locks import LocksOfSession, SessionLock


class DatabaseSessionById(ById[DatabaseSessionRow]):
    repository = DatabaseSessions


graphql_enum(
    "State of a `DatabaseSession`, as the PostgreSQL server reports it after each statement.",
    OPENING="The session connects.",
    IDLE="No statement runs and no transaction is open.",
    RUNNING="A statement runs.",
    IN_TRANSACTION="A transaction is open and waits for a statement.",
    IN_FAILED_TRANSACTION="A statement of the transaction failed: PostgreSQL accepts only "
    "`ROLLBACK`, also to a savepoint.",
    CLOSED="The session has ended; an open transaction was rolled back. Final.",
)(SessionState)

graphql_enum(
    "Reason why a `DatabaseSession` was closed, or is about to be.",
    CLIENT="`closeSession`, `disconnect` or `deleteConnection` closed it, or the user was "
    "suspended, or the script for which it was opened has ended.",
    IDLE_TIMEOUT="No statement ran for `idleTimeoutMs`.",
    TRANSACTION_TIMEOUT="A transaction was open for `transactionTimeoutMs`.",
    LOST="The connection to the database was lost, a statement ignored its cancel request, or the "
    "Howdah server that held the session failed.",
    SERVER_STOPPED="The Howdah server that held the session was stopped.",
)(CloseReason)

graphql_enum(
    "Isolation level of the transactions of a `DatabaseSession`.",
    READ_COMMITTED="Each statement sees what was committed before it began.",
    REPEATABLE_READ="All statements of a transaction see what was committed before its first one.",
    SERIALIZABLE="Transactions behave as if they ran one after the other. PostgreSQL may refuse "
    "one with SQLSTATE 40001; repeat it then.",
)(IsolationLevel)


@strawberry.type(description="The open transaction of a `DatabaseSession`.")
class SessionTransaction:
    started_at: datetime = attribute("Time the transaction began.")
    statement_count: int = attribute(
        "Number of statements executed in the transaction, without the one that began it."
    )


@strawberry.type(description="Announces that a `DatabaseSession` is about to be closed.")
class SessionWarning:
    reason: CloseReason = attribute("Reason why the session will be closed.")
    at: datetime = attribute("Time the session will be closed unless a statement is executed.")


@strawberry.type
class SessionFields(Node):
    name: str = attribute("Name passed to `openSession`, or else the name of the connection.")
    state: SessionState = attribute("State of the session.")
    autocommit: bool = attribute(
        "If false, a transaction begins before the first statement, and before the first one after "
        "each transaction, as in psql with `AUTOCOMMIT` off."
    )
    read_only: bool = attribute(
        "If true, every transaction of the session is read-only and is rolled back at its end."
    )
    isolation_level: IsolationLevel | None = attribute(
        "Default isolation level of the transactions. Null uses the default of the server."
    )
    backend_pid: int | None = attribute(
        "Process ID of the session's backend on the PostgreSQL server. Null while it is `OPENING`."
    )
    idle_timeout_ms: int = attribute(
        "Time without a statement after which the session is closed, in milliseconds."
    )
    transaction_timeout_ms: int = attribute(
        "Duration of a transaction after which the session is closed, in milliseconds. Counts "
        "from the start of the transaction, also while a statement runs."
    )
    revision: int = attribute("Incremented by every change of the session.")
    opened_at: datetime = attribute("Time the session was opened.")
    last_used_at: datetime = attribute("Time the last statement began or ended.")
    expires_at: datetime | None = attribute(
        "Time the session is closed if nothing is executed. Null while a statement runs outside a "
        "transaction, and when the session is `CLOSED`."
    )
    closed_at: datetime | None = attribute("Time the session was closed. Null while it is open.")
    close_reason: CloseReason | None = attribute(
        "Reason why the session was closed. Null while it is open."
    )

    @field(
        "Connection that the session was opened on. Null if it was deleted.",
        type=DatabaseConnection | None,
    )
    async def connection(
        root: strawberry.Parent[DatabaseSessionRow], info: Info
    ) -> ConnectionRow | None:
        if root.connection_id is None:
            return None
        return await ConnectionById.of(info.context).load(root.connection_id)

    @field("The open transaction. Null if there is none.")
    def transaction(root: strawberry.Parent[DatabaseSessionRow]) -> SessionTransaction | None:
        if root.transaction_started_at is None:
            return None
        return SessionTransaction(
            started_at=root.transaction_started_at, statement_count=root.statement_count
        )

    @field(
        "Locks that the session holds or waits for, read from the database when this field is "
        "selected; at most 1,000 for all sessions of a connection. Empty when the session is "
        "`CLOSED`. Null if the database did not answer.",
        type=list[SessionLock] | None,
    )
    async def locks(
        root: strawberry.Parent[DatabaseSessionRow], info: Info
    ) -> list[HeldLock] | None:
        if root.is_closed or root.backend_pid is None or root.connection_id is None:
            return []
        return await LocksOfSession.of(info.context).load(root)

    @field(
        "Set up to 60 seconds before a time-out closes the session. Null otherwise.",
        type=SessionWarning | None,
    )
    def warning(root: strawberry.Parent[DatabaseSessionRow]) -> SessionWarning | None:
        if root.warning is None or root.expires_at is None:
            return None
        return SessionWarning(reason=CloseReason(root.warning), at=root.expires_at)
