"""Runs whose process is gone. Whether it is, PostgreSQL says: a live one holds its lock there."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from db.postgres.engine import Session
from db.postgres.statements import compile_statement
from db.runs.rows import INTERRUPTED, Failure, OrphanRow

MISSED_FOR = timedelta(seconds=10)
"""How long a process may be without its lock: after a restart of the database all are."""

GONE = Failure(
    message="The server that ran this statement has stopped; the outcome is unknown.",
    hint="Look at what it has done before you run it again.",
)

UNSENT = Failure(
    message="The server that was to run this statement has stopped before it began.",
    hint="Nothing was sent to the database. Run it again.",
)

_IS_HELD = """EXISTS (
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid::bigint = process >> 32 AND objid::bigint = process & 4294967295)"""
_IS_ACTIVE = "state IN ('QUEUED', 'RUNNING')"

_MISS = compile_statement(
    text(f"""UPDATE query_runs
        SET process_missed_at = CASE WHEN {_IS_HELD} THEN NULL ELSE clock_timestamp() END
        WHERE {_IS_ACTIVE} AND {_IS_HELD} = (process_missed_at IS NOT NULL)""")  # noqa: S608 - constants of this module
)
_INTERRUPT = compile_statement(
    text(f"""UPDATE query_runs
        SET state = :state, error = CASE state WHEN 'QUEUED' THEN :unsent ELSE :error END,
            finished_at = clock_timestamp(),
            expires_at = now() + :keep ::interval, revision = revision + 1
        WHERE {_IS_ACTIVE} AND process_missed_at < clock_timestamp() - :missed_for ::interval
          AND NOT {_IS_HELD}
        RETURNING id, owner_id, connection_id, backend_pid, backend_started_at""")  # noqa: S608
)
_ABANDON = compile_statement(
    text("""UPDATE query_runs
        SET state = :state, error = :error, finished_at = clock_timestamp(),
            expires_at = now() + :keep ::interval, revision = revision + 1
        WHERE state = 'QUEUED' AND process = :process
        RETURNING id, owner_id, connection_id, backend_pid, backend_started_at""")
)
_WATCHED = compile_statement(
    text("""SELECT id, state, cancel_requested_at IS NOT NULL FROM query_runs
        WHERE id = ANY(:ids ::uuid[])""")
)


async def miss(session: Session) -> None:
    """Notes which processes are without their lock from now on, and which have it again."""
    await session.rows(_MISS)


async def interrupt(
    session: Session, *, keep: timedelta, missed_for: timedelta = MISSED_FOR
) -> Sequence[OrphanRow]:
    """Ends the runs of processes that have been gone for a while; never those of a live one."""
    found = await session.rows(
        _INTERRUPT,
        state=INTERRUPTED,
        error=msgspec.json.encode(GONE).decode(),
        unsent=msgspec.json.encode(UNSENT).decode(),
        keep=keep,
        missed_for=missed_for,
    )
    return [OrphanRow(*row) for row in found]


async def abandon(session: Session, *, process: int, keep: timedelta) -> Sequence[OrphanRow]:
    """Ends what a process that stops has queued."""
    packed = msgspec.json.encode(UNSENT).decode()
    found = await session.rows(
        _ABANDON, state=INTERRUPTED, error=packed, process=process, keep=keep
    )
    return [OrphanRow(*row) for row in found]


async def watched(session: Session, ids: Sequence[UUID]) -> Sequence[tuple[UUID, str, bool]]:
    """Of each of a process's own runs: its state, and whether somebody wants it cancelled."""
    found: Sequence[Any] = await session.rows(_WATCHED, ids=list(ids))
    return [tuple(row) for row in found]
