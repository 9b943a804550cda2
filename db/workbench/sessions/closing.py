"""Records that a session was closed, with its runs and its audit event, in one transaction."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from db.database_sessions import (
    CloseReason,
    DatabaseSessionRow,
    DatabaseSessions,
    SessionBackend,
)
from db.events import EventBus
from db.kit.audit import AuditKind, record
from db.kit.base import OwnerId, to_timestamp_text
from db.postgres.sessions import Session
from db.runs import Failure, RunRow, SessionQueue
from db.workbench.execution.live_status import publish_change

NEVER_STARTED = Failure(
    message="The session was closed before this statement began.",
    hint="Open another session and run it there: nothing was sent to the database.",
)
_ENDED = {
    CloseReason.CLIENT: "The session was closed while this statement ran.",
    CloseReason.IDLE_TIMEOUT: "The session reached its idle time-out while this statement began.",
    CloseReason.TRANSACTION_TIMEOUT: "The transaction reached its time limit, so the session was "
    "closed while this statement ran.",
    CloseReason.LOST: "The session was lost while this statement ran; the outcome is unknown.",
    CloseReason.SERVER_STOPPED: "The server was stopped while this statement ran.",
}


def topic_of_session(session_id: UUID) -> str:
    return f"session:{session_id.hex}"


def ended_by(reason: CloseReason) -> Failure:
    """The error of the run that was executing when its session was closed."""
    return Failure(
        message=_ENDED[reason],
        hint="The open transaction was rolled back. Check what the statement changed outside it.",
    )


async def close_session_row(
    session: Session, owner: OwnerId, session_id: UUID, reason: CloseReason, *, keep: timedelta
) -> Sequence[RunRow]:
    """Closes the row, unless it is closed, and ends the runs; returns those that it ended."""
    closed = await DatabaseSessions(session, owner).close(session_id, reason)
    is_recorded = reason is CloseReason.CLIENT and closed is not None and not closed.for_script
    if closed is not None and not is_recorded:  # by the request; a script ends its own session
        await audit_close(session, closed, reason)
    return await SessionQueue(session, owner).interrupt(
        session_id, queued=NEVER_STARTED, running=ended_by(reason), keep=keep
    )


async def audit_close(session: Session, row: DatabaseSessionRow, reason: CloseReason) -> None:
    """Records the audit event of a session that its own process or its request has closed."""
    await record(
        session,
        AuditKind.DATABASE_SESSION_CLOSED,
        owner_id=row.owner_id,
        subject_id=row.id,
        subject_name=row.name,
        details={"reason": reason, "openedAt": to_timestamp_text(row.opened_at)},
    )


async def audit_takeover(session: Session, closed: SessionBackend) -> None:
    """Records the audit event of a session that another process has closed."""
    if closed.close_reason == CloseReason.CLIENT:
        return  # its request is recorded
    await record(
        session,
        AuditKind.DATABASE_SESSION_CLOSED,
        owner_id=closed.owner_id,
        subject_id=closed.id,
        subject_name=closed.name,
        details={"reason": closed.close_reason},
    )


async def publish_session(events: EventBus, session_id: UUID, runs: Sequence[RunRow] = ()) -> None:
    """Wakes the followers of a session, and of its runs that were ended with it."""
    await events.publish(topic_of_session(session_id))
    for run in runs:
        await publish_change(events, run.owner_id, run.id)
