"""What a server writes into an empty database by itself, which does not stand in a restore's way.

A production server counts attempts to sign in and records those that fail. A development server
makes the local admin, who may have signed in. The events of the audit log stay beside the restored
ones; the rest goes.
"""

from collections.abc import Sequence

import asyncpg

from db.backup.tables import Table, quoted
from db.backup.unscoped import (
    HAS_EVENTS,
    HAS_USERS,
    PUT_EVENTS_BACK,
    REMOVE_ATTEMPTS,
    REMOVE_USERS,
    SET_EVENTS_ASIDE,
)
from db.errors import Conflict
from db.postgres.schema.downgrades import dropped_by
from db.users import LOCAL_ADMIN

_EVENTS = "audit_events"
_FIRST_WRITES = {_EVENTS, "rate_limits", "sessions"}
"""Every session belongs to a user, and only the local admin is a first write."""


async def require_unused(connection: asyncpg.Connection, tables: Sequence[Table]) -> None:
    """Raises Conflict if a user has written anything."""
    for table in tables:
        if table.name in _FIRST_WRITES:
            continue
        if table.name == "users":
            is_used = await connection.fetchval(HAS_USERS, LOCAL_ADMIN)
        else:
            has_rows = f"SELECT EXISTS (SELECT FROM {quoted(table.name)})"  # noqa: S608 - a name of the catalog
            is_used = await connection.fetchval(has_rows)
        if is_used:
            raise _not_empty(table.name)


async def require_events_stay(connection: asyncpg.Connection, present: str, revision: str) -> None:
    """Raises Conflict if a downgrade would delete events."""
    if _EVENTS in dropped_by(present, revision).tables and await connection.fetchval(HAS_EVENTS):
        raise _not_empty(_EVENTS)


async def set_aside(connection: asyncpg.Connection, tables: Sequence[Table]) -> None:
    """Empties the tables of first writes, in the transaction of the load.

    Call `require_unused` before: it deletes the users.
    """
    if _has_events(tables):
        await connection.execute(SET_EVENTS_ASIDE)
    await connection.execute(REMOVE_ATTEMPTS)
    await connection.execute(REMOVE_USERS)


async def put_back(connection: asyncpg.Connection, tables: Sequence[Table]) -> None:
    """Adds the events that were set aside.

    The restored ones have no position in the stream: theirs counted transactions of another
    cluster, and would be reached again some day.
    """
    if _has_events(tables):
        await connection.execute(PUT_EVENTS_BACK)


def _has_events(tables: Sequence[Table]) -> bool:
    return any(table.name == _EVENTS for table in tables)


def _not_empty(table: str) -> Conflict:
    return Conflict(
        f"The database is not empty: table {table} has rows.",
        hint="Restore into a new data folder (--data-dir) or an empty database.",
    )
