"""Removal of sessions some time after they were closed."""

from datetime import timedelta

from sqlalchemy import text

from db.postgres.sessions import Session
from db.postgres.statements import compile_change

_DELETE_CLOSED = compile_change(
    text("""DELETE FROM database_sessions WHERE id IN (
            SELECT id FROM database_sessions WHERE closed_at < now() - :keep ::interval
            ORDER BY closed_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
        RETURNING id""")
)


async def delete_closed_sessions(session: Session, *, keep: timedelta) -> int:
    """Deletes a batch of sessions that were closed `keep` ago; returns their number."""
    return len(await session.rows(_DELETE_CLOSED, keep=keep))
