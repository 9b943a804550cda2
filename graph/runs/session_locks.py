"""Locks of database sessions, read from the users' databases when they are selected."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import strawberry

from db.database_sessions import DatabaseSessionRow
from db.errors import HowdahError
from db.workbench.sessions.locks import HeldLock, LockReader, Waiter
from graph.kit.fields import attribute
from graph.kit.loaders import BatchLoader

MAX_CONCURRENT_READS = 4
"""Of one operation, so that a database that does not answer delays few others."""


@strawberry.type(description="A session of the database that waits for a lock.")
class LockWaiter:
    pid: int = attribute("Process ID of the session on the database server.")
    username: str | None = attribute("Database role of the session.")
    application_name: str | None = attribute("`application_name` that the session has set.")
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


class LocksOfSession(BatchLoader[DatabaseSessionRow, list[HeldLock]]):
    """Reads the locks of all sessions on one connection together; its error is theirs alone."""

    async def find(
        self, keys: list[DatabaseSessionRow]
    ) -> Mapping[DatabaseSessionRow, list[HeldLock] | Exception]:
        by_connection: dict[UUID, list[DatabaseSessionRow]] = {}
        for row in keys:
            if row.connection_id is not None:
                by_connection.setdefault(row.connection_id, []).append(row)
        reader = LockReader(self.context.services.workbench, self.context.owner)
        reads = asyncio.Semaphore(MAX_CONCURRENT_READS)
        found: dict[DatabaseSessionRow, list[HeldLock] | Exception] = {}

        async def read(connection_id: UUID, rows: list[DatabaseSessionRow]) -> None:
            try:
                async with reads:
                    locks = await reader.read(connection_id, rows)
            except HowdahError as error:
                found.update(dict.fromkeys(rows, error))
            else:
                found.update({row: locks[row.id] for row in rows})

        await asyncio.gather(*(read(*item) for item in by_connection.items()))
        return found
