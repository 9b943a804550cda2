"""Scripts whose session has ended, or was never opened, and the sessions with queued scripts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.kit.base import OwnerId, sql_list
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement
from db.scripts.rows import ACTIVE

OPENING_GRACE = timedelta(seconds=60)
"""A script without a session is orphaned after this time: opening one takes less."""

_INTERRUPT = compile_change(
    text(f"""UPDATE script_runs
        SET state = 'INTERRUPTED', finished_at = clock_timestamp(),
            expires_at = now() + :keep ::interval, revision = revision + 1,
            error = CASE state WHEN 'QUEUED' THEN :queued ELSE :running END
        WHERE state IN {sql_list(ACTIVE)} AND (
            (session_id IS NULL AND created_at < now() - :grace ::interval)
            OR (session_id IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM database_sessions AS held
                WHERE held.id = script_runs.session_id AND held.closed_at IS NULL)))
        RETURNING owner_id, id""")  # noqa: S608 - constants of this module
)
_WITH_QUEUED = compile_statement(
    text("""SELECT DISTINCT held.id FROM script_runs
        JOIN database_sessions AS held ON held.id = script_runs.session_id
        WHERE script_runs.state = 'QUEUED' AND held.process = :process
          AND held.closed_at IS NULL""")
)


async def interrupt_orphaned_scripts(
    session: Session, *, queued: str, running: str, keep: timedelta
) -> Sequence[tuple[OwnerId, UUID]]:
    """Ends the scripts that no process executes; `queued` and `running` are their errors."""
    found: Sequence[Any] = await session.rows(
        _INTERRUPT, queued=queued, running=running, keep=keep, grace=OPENING_GRACE
    )
    return [tuple(row) for row in found]


async def sessions_with_queued_scripts(session: ReadSession, *, process: int) -> set[UUID]:
    """The sessions of a process in which a script is queued."""
    return {row[0] for row in await session.rows(_WITH_QUEUED, process=process)}
