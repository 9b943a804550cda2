"""Stops the statement of a run on its server, within two seconds."""

import asyncio
import contextlib

import psycopg

from db.errors import HowdahError
from db.runs import Backend, Ending
from db.workbench.connections.libpq import (
    Connection,
    abort_after,
    fetch_value,
    opened_within,
)
from db.workbench.execution.reading import protocol
from db.workbench.execution.statement.connection_use import ConnectionUse
from db.workbench.execution.statement.lender import TERMINATE, Lender
from db.workbench.sql.pinned import pinned

CANCEL_PHASE_S = 0.8
"""How long cancel requests are repeated before the backend is terminated."""
CANCEL_RETRY_S = 0.25
TERMINATE_S = 0.5
SETTLE_S = 0.4
CANCEL_S = 0.5
CHECK_S = 5.0
RESTORE_S = 2.0

_HAS_WRITTEN = pinned("""
    SELECT backend_xid IS NOT NULL FROM pg_catalog.pg_stat_activity
    WHERE pid = $1 AND backend_start::text = $2""")

_HAS_FAILED = pinned("""
    SELECT xact_start IS NULL FROM pg_catalog.pg_stat_activity
    WHERE pid = $1 AND backend_start::text = $2""")


class StatementStop:
    """Cancels or terminates one statement, and says whether its connection can be used again."""

    def __init__(self, use: ConnectionUse, lender: Lender) -> None:
        self.connection: Connection | None = None
        """Set once the run has a connection."""
        self.backend: Backend | None = None
        self.cancel_sent = False
        self.terminated = False
        self._use = use
        self._run = use.run
        self._lender = lender
        self._cancel_may_arrive_late = False

    async def stop(self, work: "asyncio.Task[Ending]") -> None:
        """Sends cancel requests, then terminates the backend, then abandons the connection."""
        if self.connection is None:
            work.cancel()
            await asyncio.wait({work}, timeout=CANCEL_PHASE_S)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + CANCEL_PHASE_S
        while not work.done() and (left_s := until - loop.time()) > 0:
            # A server that does not answer cancel requests must not extend the phase.
            await self._send_cancel(self.connection, within_s=min(CANCEL_S, left_s))
            left_s = max(0.0, until - loop.time())
            await asyncio.wait({work}, timeout=min(CANCEL_RETRY_S, left_s))
        if work.done():
            return
        self.terminated = True
        await self._query_backend(TERMINATE, within_s=TERMINATE_S)
        if self.connection.awaits_slot:
            return  # it does not read, so that it would not notice the end
        with abort_after(self.connection, 0):
            await asyncio.wait({work}, timeout=SETTLE_S)

    async def stop_early(self, connection: Connection) -> bool:
        """Cancels a statement that has met a row or byte limit, unless that would roll back writes.

        Returns:
            Whether a cancel request was sent.
        """
        may_cancel = self._use.may_cancel_early(connection)
        if may_cancel is None:
            may_cancel = await self._query_backend(_HAS_WRITTEN, within_s=CANCEL_S) is False
        if may_cancel:
            await self._send_cancel(connection)
        return may_cancel

    async def has_failed(self) -> bool:
        """Whether the transaction of the statement has ended on the server. False if unknown."""
        return await self._query_backend(_HAS_FAILED, within_s=CHECK_S) is True

    async def settle(self) -> bool:
        """Makes sure that no late cancel request can hit the next statement of the connection.

        Returns:
            Whether the connection can be reused.
        """
        connection = self.connection
        if connection is None:
            return True
        if protocol.is_busy(connection):  # reading was aborted, the statement still runs
            await self._send_cancel(connection)
            self._cancel_may_arrive_late = True
        if self.terminated or self._cancel_may_arrive_late:
            connection.finish()
        if connection.closed:
            return False
        if not self.cancel_sent:
            return True
        with abort_after(connection, SETTLE_S):
            return await self._use.drain_cancels(connection)

    async def restore(self) -> bool:
        """Lets the use leave the connection as the next statement needs it.

        Returns:
            Whether the connection can be reused.
        """
        connection = self.connection
        if connection is None:
            return True
        try:
            with abort_after(connection, RESTORE_S):
                await self._use.restore(connection)
        except psycopg.Error:
            connection.finish()
        return not connection.closed

    def close_connection(self) -> None:
        if self.connection is not None:
            self.connection.finish()

    async def _send_cancel(self, connection: Connection, within_s: float = CANCEL_S) -> None:
        self.cancel_sent = True
        try:
            await connection.cancel_safe(timeout=within_s)
        except psycopg.Error:
            self._cancel_may_arrive_late = True

    async def _query_backend(self, query: str, *, within_s: float) -> object:
        """Uses a side connection. None if it gets no answer in time.

        The queries match the start time of the backend: its PID may have been reused.
        """
        run, backend = self._run, self.backend
        if run.connection_id is None or backend is None:
            return None
        opening = self._lender.side_connection(run.owner_id, run.connection_id)
        with contextlib.suppress(TimeoutError, HowdahError, psycopg.Error):
            async with opened_within(within_s, opening) as other:
                return await fetch_value(other, query, (backend.pid, backend.started_at))
        return None
