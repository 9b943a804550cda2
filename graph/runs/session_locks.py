"""Locks of database sessions, read from the users' databases when they are selected."""

from collections.abc import Mapping
from datetime import datetime

import strawberry

from db.database_sessions import DatabaseSessionRow
from db.workbench.sessions.locks import HeldLock, LockReader, Waiter
from graph.connections.loaders import GroupLoader
from graph.kit.fields import attribute


@strawberry.type(description="A session of the database that waits for a lock.")
class LockWaiter:
    pid: int = attribute("Process ID of the session on the database server.")
    username: str | None = attribute(
        "Database role of the session. Null for a process of PostgreSQL itself, such as autovacuum."
    )
    application_name: str | None = attribute(
        "`application_name` that the session has set. Null where `username` is."
    )
    state: str | None = attribute(
        "State of the session, such as `active`. Null if PostgreSQL hides it, as it does with "
        "sessions of other roles unless the connection's role has `pg_read_all_stats`."
    )
    statement: str | None = attribute(
        "Statement that waits, its first 1000 characters. Null if PostgreSQL hides it."
    )
    since: datetime | None = attribute("Time at which the wait began. Null if it is not known.")


@strawberry.type(description="A lock that a `DatabaseSession` holds or waits for, from `pg_locks`.")
class SessionLock:
    mode: str = attribute("Mode of the lock, such as `RowExclusiveLock`.")
    type: str = attribute(
        "Type of the locked object, such as `relation`, `transactionid` or `advisory`."
    )
    relation: str | None = attribute(
        "Locked table or index, as `schema.name`. Null for other objects."
    )
    granted: bool = attribute("True if the session holds the lock, false if it waits for it.")
    since: datetime | None = attribute(
        "Time at which the session began to wait for the lock. Null if it holds the lock."
    )
    waiters: list[Waiter] = attribute(
        "Sessions that wait for this lock of the session, at most 20.", type=list[LockWaiter]
    )


class LocksOfSession(GroupLoader[DatabaseSessionRow, list[HeldLock]]):
    """The keys are sessions that have a connection."""

    async def read(
        self, keys: list[DatabaseSessionRow]
    ) -> Mapping[DatabaseSessionRow, list[HeldLock]]:
        connection_id = keys[0].connection_id
        if connection_id is None:
            return {}
        reader = LockReader(self.context.services.workbench, self.context.owner)
        locks = await reader.read(connection_id, keys)
        return {row: locks[row.id] for row in keys}
