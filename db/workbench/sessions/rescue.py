"""Terminates the backends that processes left on users' databases when they died or hung."""

import asyncio
import logging

import psycopg

from db.database_sessions import SessionBackend
from db.errors import HowdahError
from db.runs import OrphanRow
from db.workbench.connections.libpq import abort_after
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.statement.lender import END_S, TERMINATE

log = logging.getLogger(__name__)

END_BACKEND_S = 12.0


async def end_backend(workbench: Workbench, subject: str, left: SessionBackend | OrphanRow) -> None:
    """Terminates the backend of a session or run, if it is still the same; logs a failure."""
    if left.connection_id is None or left.backend_pid is None:
        return
    try:
        async with (
            asyncio.timeout(END_BACKEND_S),
            workbench.side_connection(left.owner_id, left.connection_id) as connection,
        ):
            with abort_after(connection, END_S):
                backend = (left.backend_pid, left.backend_started_at)
                await connection.execute(TERMINATE, backend)
    except (HowdahError, TimeoutError, psycopg.Error) as error:
        log.warning("the backend of %s was not terminated: %s", subject, error)
