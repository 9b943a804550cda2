"""Runs of processes that died. A live process holds an advisory lock under its number."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from db.kit.base import sql_list
from db.kit.process_locks import IS_HELD
from db.postgres.engine import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement
from db.runs.rows import ACTIVE, Failure, OrphanRow, RunState

ORPHAN_GRACE = timedelta(seconds=10)
"""Grace period without the lock: after a restart of the database every process lacks it."""

SERVER_STOPPED = Failure(
    message="The server that executed this statement has stopped; the outcome is unknown.",
    hint="Check what the statement changed before you run it again.",
)

NEVER_STARTED = Failure(
    message="The server that queued this statement stopped before it began.",
    hint="Run it again: nothing was sent to the database.",
)

_IS_ACTIVE = f"state IN {sql_list(ACTIVE)}"

_MARK_MISSING = compile_change(
    text(f"""UPDATE query_runs
        SET process_missed_at = CASE WHEN {IS_HELD} THEN NULL ELSE clock_timestamp() END
        WHERE {_IS_ACTIVE} AND {IS_HELD} = (process_missed_at IS NOT NULL)""")  # noqa: S608 - constants of this module
)
_INTERRUPT_ORPHANS = compile_change(
    text(f"""UPDATE query_runs
        SET state = :state, error = CASE state WHEN 'QUEUED' THEN :unsent ELSE :error END,
            finished_at = clock_timestamp(),
            expires_at = now() + :keep ::interval, revision = revision + 1
        WHERE {_IS_ACTIVE} AND process_missed_at < clock_timestamp() - :grace ::interval
          AND NOT {IS_HELD}
        RETURNING id, owner_id, connection_id, backend_pid, backend_started_at""")  # noqa: S608
)
_INTERRUPT_QUEUED = compile_change(
    text("""UPDATE query_runs
        SET state = :state, error = :error, finished_at = clock_timestamp(),
            expires_at = now() + :keep ::interval, revision = revision + 1
        WHERE state = 'QUEUED' AND process = :process
        RETURNING id, owner_id, connection_id, backend_pid, backend_started_at""")
)
_CANCEL_STATES = compile_statement(
    text("""SELECT id, state, cancel_requested_at IS NOT NULL FROM query_runs
        WHERE id = ANY(:ids ::uuid[])""")
)


async def mark_missing_processes(session: Session) -> None:
    """Records since when processes with active runs lack their lock; clears it if they have it."""
    await session.rows(_MARK_MISSING)


async def interrupt_orphans(
    session: Session, *, keep: timedelta, grace: timedelta = ORPHAN_GRACE
) -> Sequence[OrphanRow]:
    """Ends the active runs of processes that have lacked their lock for `grace`."""
    found = await session.rows(
        _INTERRUPT_ORPHANS,
        state=RunState.INTERRUPTED,
        error=msgspec.json.encode(SERVER_STOPPED).decode(),
        unsent=msgspec.json.encode(NEVER_STARTED).decode(),
        keep=keep,
        grace=grace,
    )
    return [OrphanRow(*row) for row in found]


async def interrupt_queued(
    session: Session, *, process: int, keep: timedelta
) -> Sequence[OrphanRow]:
    """Ends the queued runs of a process that is stopping."""
    packed = msgspec.json.encode(NEVER_STARTED).decode()
    found = await session.rows(
        _INTERRUPT_QUEUED, state=RunState.INTERRUPTED, error=packed, process=process, keep=keep
    )
    return [OrphanRow(*row) for row in found]


async def cancel_states(
    session: ReadSession, ids: Sequence[UUID]
) -> Sequence[tuple[UUID, str, bool]]:
    """(id, state, whether a cancel was requested) of each of the runs."""
    found: Sequence[Any] = await session.rows(_CANCEL_STATES, ids=list(ids))
    return [tuple(row) for row in found]
