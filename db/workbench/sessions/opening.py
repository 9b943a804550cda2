"""Inserts the row of a new session, and prepares its connection."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import psycopg

from db.concurrency.waiting import retry_while_away
from db.connections import Connections
from db.database_sessions import (
    CloseReason,
    DatabaseSessionRow,
    DatabaseSessions,
    IsolationLevel,
)
from db.errors import Unavailable
from db.kit.audit import AuditKind, AuditOutcome, record
from db.kit.base import OwnerId, new_id
from db.kit.idempotency import Idempotency, NewId, run_once
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import Backend
from db.workbench.connections.libpq import (
    Connection,
    abort_after,
    command,
    fetch_value,
    learn_backend,
)
from db.workbench.execution.statement.read_only_notice import read_only_notice
from db.workbench.sessions.closing import close_session_row
from db.workbench.sessions.held_session import HeldSession
from db.workbench.sessions.open_request import OpenRequest, SessionLimits
from db.workbench.sql.pinned import pinned

log = logging.getLogger(__name__)

SET_UP_S = 5.0
FORGET_S = 15.0
_BACKEND = pinned(
    "SELECT backend_start::text FROM pg_catalog.pg_stat_activity "
    "WHERE pid = pg_catalog.pg_backend_pid()"
)


class NewRow(NamedTuple):
    """The row of a session, and whether this call inserted it."""

    row: DatabaseSessionRow
    is_new: bool


async def insert_session(
    database: Database,
    owner: OwnerId,
    request: OpenRequest,
    key: str | None,
    *,
    process: int,
    limits: SessionLimits,
) -> NewRow:
    """Returns the session of an earlier call if the key was used before.

    Raises:
        RateLimited: The owner has too many open sessions.
    """
    row_id = new_id()

    async def insert(session: Session) -> NewId:
        connections, sessions = Connections(session, owner), DatabaseSessions(session, owner)
        connection = await connections.require(request.connection_id, field="connectionId")
        new = request.to_new_session(connection, limits)
        await sessions.add_new(row_id, new, process=process, max_open=limits.max_open)
        return NewId(row_id)

    call = ("openSession", request)
    found = await run_once(database, owner, insert, key=key, request=call, answer=NewId)
    async with database.read() as session:
        row = await DatabaseSessions(session, owner).require(found.id)
    return NewRow(row, is_new=found.id == row_id)


async def forget_session(
    database: Database, row: DatabaseSessionRow, key: str | None, error: str, *, keep: timedelta
) -> None:
    """Deletes a session that could not be opened: the call may be repeated with its key.

    `error` is the code of the failure. Tries for FORGET_S, because no process holds the session.
    """

    async def forget(session: Session) -> None:
        owner = row.owner_id
        if not await DatabaseSessions(session, owner).delete_opening(row.id):
            # The connection to our database was lost when the session was recorded as open.
            await close_session_row(session, owner, row.id, CloseReason.LOST, keep=keep)
        if key is not None:
            await Idempotency(session, row.owner_id).forget(key)
        await record_opened(session, row, outcome=AuditOutcome.FAILED, error=error)

    deadline = asyncio.get_running_loop().time() + FORGET_S
    what = f"forget session {row.id.hex}"
    await retry_while_away(lambda: database.transaction(forget), log, what, deadline=deadline)


async def record_opened(
    session: Session,
    row: DatabaseSessionRow,
    *,
    outcome: AuditOutcome = AuditOutcome.SUCCEEDED,
    error: str | None = None,
) -> None:
    connection_id = None if row.connection_id is None else f"conn_{row.connection_id.hex}"
    shown = {"connectionId": connection_id, "readOnly": row.read_only, "error": error}
    await record(
        session,
        AuditKind.DATABASE_SESSION_OPENED,
        outcome=outcome,
        owner_id=row.owner_id,
        subject_id=row.id,
        subject_name=row.name,
        details=shown,
    )


async def set_up(connection: Connection, row: DatabaseSessionRow) -> Backend:
    """Sets the isolation level, and learns the backend.

    Raises:
        Unavailable: The connection was lost, or the server refused.
    """
    with _translate_errors(), abort_after(connection, SET_UP_S):
        if row.isolation_level is not None:
            level = IsolationLevel(row.isolation_level).sql
            await command(
                connection,
                f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}",
            )
        return learn_backend(connection, await fetch_value(connection, _BACKEND))


async def warn_of_risks(held: HeldSession, connection: Connection) -> None:
    """Adds the notice of a role that could change data in spite of a read-only transaction.

    Raises:
        Unavailable: The connection was lost.
    """
    if not held.row.read_only:
        return
    with _translate_errors(), abort_after(connection, SET_UP_S):
        notice = await read_only_notice(connection)
    if notice is not None:
        held.note(notice)


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error:
        raise Unavailable(
            "The connection was lost while the session was opened.",
            hint="Open the session again in a moment.",
            retry_after_s=1,
        ) from None
