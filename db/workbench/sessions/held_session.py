"""A session that this process holds: its connection, its transaction and its time limits."""

import asyncio
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import psycopg
from psycopg.pq.misc import PGnotify

from db.database_sessions import CloseReason, DatabaseSessionRow, SessionState, SessionStatus
from db.runs import Backend, Failure, RunRow, RunState, ServerNotice
from db.workbench.connections.libpq import Connection, abort_after, command
from db.workbench.copy.interfaces import CopySource
from db.workbench.execution.reading import protocol
from db.workbench.sessions.closing import ended_by
from db.workbench.sessions.session_use import SessionUse
from db.workbench.sql.transaction_text import begins_transaction, chains

MAX_NOTIFICATIONS = 100
ROLLBACK_S = 1.0
WARN_S = 60.0
WARN_SHARE = 0.2
LATEST_WARNING_S = 1.0
"""The warning comes this share of the time-out before its end, from one second to `WARN_S`."""


class SessionHost(Protocol):
    """What a held session needs of its process."""

    async def execute(self, held: "HeldSession", use: SessionUse) -> RunRow: ...

    def stop_run(self, run_id: UUID, state: str, error: Failure | None) -> bool: ...

    def wake(self, session_id: UUID) -> bool:
        """Wakes the worker of the session."""


class HeldSession:
    """Executes the runs of one session, one at a time."""

    def __init__(
        self, row: DatabaseSessionRow, connection: Connection, backend: Backend, host: "SessionHost"
    ) -> None:
        self.row = row
        """As it was opened: the values that do not change."""
        self.backend = backend
        self.closing: CloseReason | None = None
        """Set once the session has to close: its worker begins nothing more."""
        self.is_warned = False
        self._connection = connection
        self._host = host
        self._running: RunRow | None = None
        self._notices: list[ServerNotice] = []
        self._transaction_began: float | None = None
        self._statement_count = 0
        self._used_at = asyncio.get_running_loop().time()
        connection.on_notification = connection.pgconn.notify_handler = self._note

    @property
    def is_lost(self) -> bool:
        return self._connection.closed

    @property
    def expires_at(self) -> float | None:
        """The loop's time at which the session is to close.

        While a statement runs, only its transaction counts.
        """
        ends = []
        if self._running is None:
            ends.append(self._used_at + self.row.idle_timeout_ms / 1000)
        if (end := self._transaction_end) is not None:
            ends.append(end)
        return min(ends) if ends else None

    @property
    def expiry_reason(self) -> CloseReason:
        """What `expires_at` will be the reason of."""
        end = self._transaction_end
        is_end = end is not None and end == self.expires_at
        return CloseReason.TRANSACTION_TIMEOUT if is_end else CloseReason.IDLE_TIMEOUT

    @property
    def _transaction_end(self) -> float | None:
        began = self._transaction_began
        return None if began is None else began + self.row.transaction_timeout_ms / 1000

    @property
    def warns_at(self) -> float | None:
        """The loop's time at which a warning is due before `expires_at`."""
        expires_at = self.expires_at
        if expires_at is None:
            return None
        is_idle = self.expiry_reason is CloseReason.IDLE_TIMEOUT
        timeout_ms = self.row.idle_timeout_ms if is_idle else self.row.transaction_timeout_ms
        return expires_at - max(LATEST_WARNING_S, min(WARN_S, timeout_ms / 1000 * WARN_SHARE))

    @property
    def is_in_transaction(self) -> bool:
        """Whether the server has a transaction open, failed or not."""
        return not protocol.is_idle(self._connection)

    async def execute(
        self,
        run: RunRow,
        copy_in: CopySource | None = None,
        *,
        begins: bool = False,
        prelude: str | None = None,
    ) -> RunRow:
        """Executes a started run on the connection, and returns it as it ended.

        `copy_in` is the data of a COPY ... FROM STDIN. As a part of the run, a transaction is begun
        if `begins`, then `prelude`, SQL of ours, is sent, and then the statement.
        Everything is recorded when this returns. If the connection is lost, so is the session.
        """
        use = SessionUse(
            run,
            self._connection,
            self.backend,
            autocommit=self.row.autocommit,
            take_notices=self._take_notices,
            copy_in=copy_in,
            begins=begins,
            prelude=prelude,
        )
        self._running, self.is_warned = run, False
        try:
            if self.closing is not None:  # since the run was claimed
                asyncio.get_running_loop().call_soon(self._stop_run)
            return await self._host.execute(self, use)
        finally:
            self._running = None
            if self.is_lost:
                self.close(CloseReason.LOST)

    def status_after(self, run: RunRow, began: float) -> SessionStatus | None:
        """The state that the server reports after the run; None if the connection is lost.

        May be called several times for one run. `began` is the loop's time at its beginning.
        """
        if self.is_lost or protocol.is_busy(self._connection):
            return None
        if protocol.is_idle(self._connection):
            return self.idle_status()
        failed = protocol.has_failed(self._connection)
        state = SessionState.IN_FAILED_TRANSACTION if failed else SessionState.IN_TRANSACTION
        started, count = self._transaction_began, self._statement_count
        is_new = started is None or chains(run.statement)
        if started is None or is_new:
            started, count = began, 0
        if not (chains(run.statement) or begins_transaction(run.statement)):
            count += 1
        age = timedelta(seconds=asyncio.get_running_loop().time() - started)
        return SessionStatus(state, count, age, is_new)

    @staticmethod
    def idle_status() -> SessionStatus:
        """The status of a session outside a transaction."""
        return SessionStatus(SessionState.IDLE, 0, None, is_new_transaction=False)

    def apply(self, status: SessionStatus, began: float) -> None:
        """Call once `status` is recorded, after a run that began at `began`."""
        if status.transaction_age is None:
            self._transaction_began = None
        elif status.is_new_transaction:
            self._transaction_began = began
        self._statement_count = status.statement_count
        self._used_at = asyncio.get_running_loop().time()

    def close(self, reason: CloseReason) -> None:
        """Asks the worker to close the session, and stops the run that is executing."""
        if self.closing is None:
            self.closing = reason
            self._stop_run()
            self._host.wake(self.row.id)

    def cut(self) -> None:
        """Ends the connection at once, because another process may have the session closed."""
        self._connection.cut()
        self.close(CloseReason.LOST)

    async def roll_back(self) -> None:
        """Ends the transaction before the connection is closed, so that its locks are free."""
        if self.is_lost or protocol.is_idle(self._connection):
            return
        try:
            with abort_after(self._connection, ROLLBACK_S):
                await command(self._connection, "ROLLBACK")
        except psycopg.Error:
            self._connection.finish()

    def poll(self) -> None:
        """Notices that the server has closed the connection while no statement runs."""
        if self._running is not None or self.closing is not None:
            return  # its worker reads the connection
        try:
            self._connection.poll_input()
        except psycopg.Error:
            self._connection.finish()
        if self.is_lost:
            self.close(CloseReason.LOST)

    def _stop_run(self) -> None:
        if self._running is None or self.closing is None:
            return
        by_client = self.closing is CloseReason.CLIENT
        state = RunState.CANCELLED if by_client else RunState.INTERRUPTED
        error = None if by_client else ended_by(self.closing)
        self._host.stop_run(self._running.id, state, error)

    def _take_notices(self) -> list[ServerNotice]:
        notices, self._notices = self._notices, []
        return notices

    def note(self, notice: ServerNotice) -> None:
        """Adds a notice to the next run that ends."""
        if len(self._notices) < MAX_NOTIFICATIONS:
            self._notices.append(notice)

    def _note(self, notification: PGnotify) -> None:
        """Keeps a notification for the next run that ends, as psql prints it.

        PostgreSQL limits a payload to 8,000 bytes, but not every server is a real PostgreSQL. That
        of an SQL_ASCII database may be in any encoding.
        """
        channel, payload = (
            text[: protocol.MAX_MESSAGE_CHARS].decode(errors="replace")
            for text in (notification.relname, notification.extra)
        )
        payload = f' with payload "{payload}"' if payload else ""
        message = (
            f'Asynchronous notification "{channel}"{payload} received from server process with '
            f"PID {notification.be_pid}."
        )
        self.note(ServerNotice(severity="NOTICE", message=message))
