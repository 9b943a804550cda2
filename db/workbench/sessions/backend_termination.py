"""Terminates the backends that processes left on users' databases when they died or hung."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import psycopg

from db.concurrency.waiting import Backoff, retry
from db.database_sessions import SessionBackend
from db.errors import HowdahError, Overloaded, Unavailable
from db.kit.base import OwnerId
from db.runs import Backend, OrphanRow
from db.workbench.connections.libpq import Connection, abort_after, fetch_value, opened_within
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.statement.lender import END_S, TERMINATE
from db.workbench.sql.pinned import pinned

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=0.5, longest_s=8.0)
END_BACKEND_S = 60.0
END_STATEMENTS_S = 3.0
CANCEL_PHASE_S = 1.0
CHECK_S = 0.1

_THEIRS = """FROM pg_catalog.pg_stat_activity AS backend
    JOIN ROWS FROM (pg_catalog.unnest($1::int4[]), pg_catalog.unnest($2::text[]))
        AS theirs (pid, started)
        ON backend.pid = theirs.pid AND backend.backend_start::text = theirs.started
    WHERE backend.state = 'active'"""
_CANCEL = pinned(f"SELECT pg_catalog.pg_cancel_backend(backend.pid) {_THEIRS}")
_ARE_LEFT = pinned(f"SELECT pg_catalog.count(*) > 0 {_THEIRS}")
_TERMINATE = pinned(f"SELECT pg_catalog.pg_terminate_backend(backend.pid) {_THEIRS}")


async def end_backend(workbench: Workbench, subject: str, left: SessionBackend | OrphanRow) -> None:
    """Terminates the backend of a session or run, if it is still the same.

    A process closes the connection of a run whose end another one has recorded, so the backend
    never executes another run.
    Tries for `END_BACKEND_S` to reach a target that does not respond; logs a failure.
    """
    if left.connection_id is None or left.backend_pid is None:
        return
    try:
        await retry(
            partial(_terminate, workbench, left, left.connection_id),
            on=(Unavailable, Overloaded, psycopg.Error),
            backoff=BACKOFF,
            deadline=asyncio.get_running_loop().time() + END_BACKEND_S,
            report=lambda error: log.info("cannot end the backend of %s yet: %s", subject, error),
        )
    except (HowdahError, TimeoutError, psycopg.Error) as error:
        log.warning("the backend of %s was not terminated: %s", subject, error)


async def _terminate(
    workbench: Workbench, left: SessionBackend | OrphanRow, connection_id: UUID
) -> None:
    async with workbench.side_connection(left.owner_id, connection_id) as connection:
        with abort_after(connection, END_S):
            await fetch_value(connection, TERMINATE, (left.backend_pid, left.backend_started_at))


async def end_statements(
    workbench: Workbench, owner: OwnerId, connection_id: UUID, backends: Sequence[Backend]
) -> None:
    """Cancels the statements of other processes, and terminates those that go on.

    A process that hangs would not end them; a failure is logged.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + CANCEL_PHASE_S
    theirs = ([backend.pid for backend in backends], [backend.started_at for backend in backends])
    try:
        opening = workbench.side_connection(owner, connection_id)
        async with opened_within(END_STATEMENTS_S, opening) as connection:
            await fetch_value(connection, _CANCEL, theirs)
            while await _are_left(connection, theirs):
                if loop.time() >= until:
                    await fetch_value(connection, _TERMINATE, theirs)
                    return
                await asyncio.sleep(CHECK_S)
    except (HowdahError, TimeoutError, psycopg.Error) as error:
        log.warning("statements on connection %s were not ended: %s", connection_id.hex, error)


async def _are_left(connection: Connection, theirs: tuple[list[int], list[str]]) -> bool:
    return bool(await fetch_value(connection, _ARE_LEFT, theirs))
