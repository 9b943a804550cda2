"""Sessions of processes that died, and sessions that their process did not end in time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.database_sessions.rows import CloseReason, HeldState, SessionBackend
from db.kit.live_processes import IS_JUDGE, IS_LIVE
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement

OVERDUE_GRACE = timedelta(seconds=5)
"""Time that the process of a session has to close it, before another replica does."""

OPENING_GRACE = timedelta(minutes=1)
"""Connecting takes at most 10 seconds."""

_CLOSED = """state = 'CLOSED', closed_at = clock_timestamp(), transaction_started_at = NULL,
    statement_count = 0, warning = NULL, expires_at = NULL, revision = revision + 1"""
_BACKEND = "id, owner_id, connection_id, name, backend_pid, backend_started_at, close_reason"

_CLOSE_LOST = compile_change(
    text(f"""UPDATE database_sessions AS held SET close_reason = :reason, {_CLOSED}
        WHERE closed_at IS NULL AND NOT {IS_LIVE}
        RETURNING {_BACKEND}""")  # noqa: S608 - constants of this module
)
_CLOSE_OVERDUE = compile_change(
    text(f"""UPDATE database_sessions
        SET close_reason = CASE
            WHEN close_requested_at IS NOT NULL THEN 'CLIENT'
            WHEN transaction_started_at IS NOT NULL
                AND transaction_started_at + transaction_timeout_ms * interval '1 ms' <= expires_at
                THEN 'TRANSACTION_TIMEOUT'
            WHEN state = 'OPENING' THEN 'LOST'
            ELSE 'IDLE_TIMEOUT' END, {_CLOSED}
        WHERE closed_at IS NULL AND {IS_JUDGE} AND (
            expires_at < clock_timestamp() - :grace ::interval
            OR state = 'OPENING' AND opened_at < clock_timestamp() - :opening ::interval
            OR close_requested_at < clock_timestamp() - :grace ::interval)
        RETURNING {_BACKEND}""")  # noqa: S608
)
_ENDED = compile_statement(
    text(f"SELECT {_BACKEND} FROM database_sessions WHERE id = ANY(:ids ::uuid[])")  # noqa: S608
)
_HELD = compile_statement(
    text("""SELECT id, closed_at IS NOT NULL, close_requested_at IS NOT NULL
            OR connection_id IS NULL
            OR EXISTS (SELECT 1 FROM users WHERE users.id = held.owner_id
                AND (suspended_at IS NOT NULL OR removed_at IS NOT NULL))
        FROM database_sessions AS held WHERE id = ANY(:ids ::uuid[])""")
)


async def close_lost(session: Session) -> Sequence[SessionBackend]:
    """Closes the sessions of processes that are not alive."""
    found = await session.rows(_CLOSE_LOST, reason=CloseReason.LOST)
    return [SessionBackend(*row) for row in found]


async def close_overdue(session: Session, judge: int) -> Sequence[SessionBackend]:
    """Closes the sessions that their process should have closed OVERDUE_GRACE ago.

    Closes none if `judge`, the process that asks, is no judge: after a pause of the database, the
    processes have time to record that a transaction was committed before its time was over.
    """
    found = await session.rows(
        _CLOSE_OVERDUE, grace=OVERDUE_GRACE, opening=OPENING_GRACE, judge=judge
    )
    return [SessionBackend(*row) for row in found]


async def find_closed(session: ReadSession, ids: Sequence[UUID]) -> Sequence[SessionBackend]:
    """The sessions that still exist, with their backends."""
    return [SessionBackend(*row) for row in await session.rows(_ENDED, ids=list(ids))]


async def held_states(session: ReadSession, ids: Sequence[UUID]) -> Sequence[HeldState]:
    """The state of sessions that a process holds; those that were deleted are missing.

    One whose connection was deleted, or whose user was suspended, is to be closed.
    """
    found: Sequence[Any] = await session.rows(_HELD, ids=list(ids))
    return [HeldState(*row) for row in found]
