"""Runs of processes that died, and runs that their process did not end in time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from db.kit.base import sql_list
from db.kit.live_processes import IS_JUDGE, IS_LIVE
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement
from db.runs.rows import ACTIVE, Failure, OrphanRow, RunState

OVERDUE_GRACE = timedelta(seconds=5)
"""A process ends a run at most two seconds after its timeout; another one after this time."""

SERVER_STOPPED = Failure(
    message="The server that executed this statement has stopped; the outcome is unknown.",
    hint="Check what the statement changed before you run it again.",
)

NEVER_STARTED = Failure(
    message="The server that queued this statement stopped before it began.",
    hint="Run it again: nothing was sent to the database.",
)

OVERDUE = Failure(
    message="The statement exceeded its timeout, and the server that executed it did not end it.",
    sqlstate="57014",
    severity="ERROR",
    hint="Check what the statement changed before you run it again: another server ended it.",
)

_IS_ACTIVE = f"state IN {sql_list(ACTIVE)}"

_ORPHAN = "id, owner_id, connection_id, backend_pid, backend_started_at"
_ENDED = """finished_at = clock_timestamp(), expires_at = now() + :keep ::interval,
    revision = revision + 1"""

_INTERRUPT_ORPHANS = compile_change(
    text(f"""UPDATE query_runs AS held
        SET state = :state, error = CASE state WHEN 'QUEUED' THEN :unsent ELSE :error END, {_ENDED}
        WHERE {_IS_ACTIVE} AND NOT {IS_LIVE}
        RETURNING {_ORPHAN}""")  # noqa: S608 - constants of this module
)
_END_OVERDUE = compile_change(
    text(f"""UPDATE query_runs
        SET state = :state, error = :error, connection_usable = false, {_ENDED}
        WHERE state = 'RUNNING'
          AND started_at + timeout_ms * interval '1 ms' < clock_timestamp() - :grace ::interval
          AND {IS_JUDGE}
        RETURNING {_ORPHAN}""")  # noqa: S608 - constants of this module
)
_INTERRUPT_QUEUED = compile_change(
    text(f"""UPDATE query_runs SET state = :state, error = :error, {_ENDED}
        WHERE state = 'QUEUED' AND process = :process
        RETURNING {_ORPHAN}""")  # noqa: S608 - constants of this module
)
_ENDED_RUNS = compile_statement(
    text(f"SELECT {_ORPHAN} FROM query_runs WHERE id = ANY(:ids ::uuid[])")  # noqa: S608
)
_CANCEL_STATES = compile_statement(
    text("""SELECT id, state, cancel_requested_at IS NOT NULL FROM query_runs
        WHERE id = ANY(:ids ::uuid[])""")
)


async def interrupt_orphans(session: Session, *, keep: timedelta) -> Sequence[OrphanRow]:
    """Ends the active runs of processes that are not alive."""
    found = await session.rows(
        _INTERRUPT_ORPHANS,
        state=RunState.INTERRUPTED,
        error=msgspec.json.encode(SERVER_STOPPED).decode(),
        unsent=msgspec.json.encode(NEVER_STARTED).decode(),
        keep=keep,
    )
    return [OrphanRow(*row) for row in found]


async def find_ended_runs(session: ReadSession, ids: Sequence[UUID]) -> Sequence[OrphanRow]:
    """The runs that still exist, with the backends that executed them."""
    return [OrphanRow(*row) for row in await session.rows(_ENDED_RUNS, ids=list(ids))]


async def end_overdue(session: Session, judge: int, *, keep: timedelta) -> Sequence[OrphanRow]:
    """Ends the runs of all processes whose timeout was OVERDUE_GRACE ago.

    Ends none if `judge`, the process that asks, is no judge: after a pause of the database, the
    processes have time to record how their runs ended.
    """
    packed = msgspec.json.encode(OVERDUE).decode()
    found = await session.rows(
        _END_OVERDUE,
        state=RunState.TIMED_OUT,
        error=packed,
        keep=keep,
        grace=OVERDUE_GRACE,
        judge=judge,
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
