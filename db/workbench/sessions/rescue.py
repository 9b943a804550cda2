"""Ends the sessions of processes that died or hang, with the backends that they left."""

import asyncio
import logging

import psycopg

from db.database_sessions import SessionBackend
from db.errors import HowdahError
from db.workbench.connections.libpq import abort_after
from db.workbench.connections.workbench import Workbench
from db.workbench.execution.statement.lender import END_S, TERMINATE

log = logging.getLogger(__name__)

END_BACKEND_S = 12.0


async def end_session_backend(workbench: Workbench, closed: SessionBackend) -> None:
    """Terminates the backend of a session, if it is still the same; logs a failure."""
    if closed.connection_id is None or closed.backend_pid is None:
        return
    try:
        async with (
            asyncio.timeout(END_BACKEND_S),
            workbench.side_connection(closed.owner_id, closed.connection_id) as connection,
        ):
            with abort_after(connection, END_S):
                backend = (closed.backend_pid, closed.backend_started_at)
                await connection.execute(TERMINATE, backend)
    except (HowdahError, TimeoutError, psycopg.Error) as error:
        log.warning("the backend of session %s was not terminated: %s", closed.id, error)
