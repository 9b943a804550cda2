"""How a run gets its connection, prepares it for its statement, and gives it back.

Most runs borrow a connection of the pool for one statement (PooledUse). Those of a database session
use the connection that the session holds (db.workbench.sessions.session_use).
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import psycopg

from db.runs import Backend, Failure, RunRow, ServerNotice
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.connections.libpq import (
    SET_TIMEOUT,
    Connection,
    command,
    fetch_rows,
    learn_backend,
)
from db.workbench.connections.pools.connection_pool import ReservedConnection
from db.workbench.copy.copy_failures import COPY_WITHOUT_DATA
from db.workbench.copy.interfaces import CopySource
from db.workbench.execution.reading import protocol
from db.workbench.execution.reading.column_sources import ALONE, Frame
from db.workbench.execution.run_failures import (
    EMPTY_STATEMENT,
    connection_deleted,
    transaction_control,
)
from db.workbench.execution.statement.batch import Batch
from db.workbench.execution.statement.lender import Lender
from db.workbench.execution.statement.read_only_notice import (
    notice_of_lifted_mode,
    read_only_notice,
)
from db.workbench.sql.explain_text import is_rolled_back
from db.workbench.sql.pinned import pinned
from db.workbench.sql.sql_text import (
    controls_transaction,
    copies_from_client,
    is_empty,
)

_SETUP = pinned("""
    SELECT pg_catalog.pg_backend_pid(),
           (SELECT backend_start::text FROM pg_catalog.pg_stat_activity
            WHERE pid = pg_catalog.pg_backend_pid())
    FROM pg_catalog.set_config('statement_timeout', $1, false)""")
KEPT_FROM_MS = 10_000
"""Shorter ones are not kept: our own statements on the connection might exceed them."""
LATE_S = 0.1
"""A statement that begins up to this late has the whole timeout: TIMEOUT_GRACE_S is longer."""


class ConnectionUse(ABC):
    """The use of a connection by one run, in the order of the methods."""

    def __init__(self, run: RunRow) -> None:
        self.run = run

    @property
    def statement(self) -> str:
        """The text to send."""
        return self.run.statement

    def reject(self) -> Failure | None:
        """The error of a statement that is not sent."""
        if self.batch is not None:
            return None
        if is_empty(self.run.statement):
            return EMPTY_STATEMENT
        if self.copy_in is None and copies_from_client(self.run.statement):
            return COPY_WITHOUT_DATA
        return None

    def held(self) -> AbstractAsyncContextManager[object]:
        """Entered before the run begins, and left after its end is recorded."""
        return contextlib.nullcontext()

    @abstractmethod
    def lend(self) -> AbstractAsyncContextManager[Connection]:
        """Lends the connection until the run has ended."""

    @abstractmethod
    async def prepare(self, connection: Connection, *, until: float) -> Backend:
        """Called before the statement. `until` is the loop's time at which the run times out."""

    copy_in: CopySource | None = None
    """The data, if the statement is COPY ... FROM STDIN."""
    batch: Batch | None = None
    """What is executed instead of the statement of the run."""
    keeps_state = False
    """Whether what the statement sets lasts beyond the run."""
    records_backend = True
    """Whether the backend has to be recorded with the run before its statement is sent."""

    async def notices(self, connection: Connection) -> list[ServerNotice]:  # noqa: ARG002
        """The notices with which the run begins, queried before `prepare`."""
        return []

    def late_notices(self) -> list[ServerNotice]:
        """The notices with which the run ends."""
        return []

    def may_cancel_early(self, connection: Connection) -> bool | None:  # noqa: ARG002
        """Whether a statement that has met a limit may be cancelled: it would undo its changes.

        None if that depends on whether it has changed anything.
        """
        return True if self.run.read_only else None

    def frame(self, connection: Connection) -> Frame:  # noqa: ARG002
        """How to query the sources of the columns after the statement."""
        return ALONE

    @abstractmethod
    async def complete(self, connection: Connection) -> None:
        """Called after a statement that has succeeded, as a part of the run."""

    @abstractmethod
    async def drain_cancels(self, connection: Connection) -> bool:
        """Waits until earlier cancel requests can hit nothing but queries of ours.

        Returns:
            Whether the connection answers.
        """

    @abstractmethod
    async def restore(self, connection: Connection) -> None:
        """Called when nothing is executing any more, whatever the outcome of the statement."""


class PooledUse(ConnectionUse):
    """Borrows a connection for one statement, which is a transaction of its own.

    A statement that is only explained is rolled back, also without `readOnly`. If it fails, the
    pool rolls it back when the connection is returned.
    """

    def __init__(
        self, run: RunRow, lender: Lender, reserved: ReservedConnection | None = None
    ) -> None:
        """`reserved` is the connection to use if its backend was recorded with the run."""
        super().__init__(run)
        self.records_backend = reserved is None
        self._lender = lender
        self._reserved = reserved
        self._late_notices: list[ServerNotice] = []

    def late_notices(self) -> list[ServerNotice]:
        return self._late_notices

    def reject(self) -> Failure | None:
        statement = self.run.statement
        is_refused = controls_transaction(statement)
        return super().reject() or (transaction_control(statement) if is_refused else None)

    def held(self) -> AbstractAsyncContextManager[object]:
        return contextlib.nullcontext() if self._reserved is None else self._reserved

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        run = self.run
        if run.connection_id is None:
            raise connection_deleted()
        if self._reserved is not None:
            yield self._reserved.connection
            return
        async with self._lender.lend(run.owner_id, run.connection_id) as connection:
            yield connection

    async def notices(self, connection: Connection) -> list[ServerNotice]:
        if self.run.read_only and (notice := await read_only_notice(connection)) is not None:
            return [notice]
        return []

    async def prepare(self, connection: Connection, *, until: float) -> Backend:
        """Sets the timeout and learns the backend.

        PostgreSQL refuses SET TRANSACTION READ WRITE after the first query of a transaction, so
        this query also fixes a read-only transaction as read-only.
        """
        begin = ""
        if self.run.read_only:
            begin = "BEGIN READ ONLY;"
        elif is_rolled_back(self.run.statement):
            begin = "BEGIN;"
        timeout_ms = self._timeout_ms(until - asyncio.get_running_loop().time())
        if connection.backend is None:
            if begin:
                await command(connection, begin)
            return await self._set_up(connection, timeout_ms)
        if begin or timeout_ms != connection.kept_timeout_ms:
            await command(connection, begin + SET_TIMEOUT.format(timeout_ms))
            self._keep_timeout(connection)
        return connection.backend

    async def _set_up(self, connection: Connection, timeout_ms: int) -> Backend:
        rows = await fetch_rows(connection, _SETUP, (str(timeout_ms),))
        try:
            ((pid, started_at),) = rows
        except ValueError:
            raise UnexpectedRows from None
        connection.is_direct = pid == connection.pgconn.backend_pid
        self._keep_timeout(connection)
        return learn_backend(connection, started_at)

    def _timeout_ms(self, left_s: float) -> int:
        """The whole timeout, unless the connection was waited for."""
        is_late = self.run.timeout_ms / 1000 - left_s > LATE_S
        return max(1, round(left_s * 1000)) if is_late else self.run.timeout_ms

    def _keep_timeout(self, connection: Connection) -> None:
        """Not through a pooler, where other clients might get the session that has the timeout."""
        is_kept = connection.is_direct and self.run.timeout_ms >= KEPT_FROM_MS
        connection.kept_timeout_ms = self.run.timeout_ms if is_kept else None

    async def complete(self, connection: Connection) -> None:
        if self.run.read_only:
            if (notice := await notice_of_lifted_mode(connection)) is not None:
                self._late_notices.append(notice)
            await command(connection, "ROLLBACK")  # read-only transactions still allow lo_create
        elif is_rolled_back(self.run.statement):
            await command(connection, "ROLLBACK")

    async def drain_cancels(self, connection: Connection) -> bool:
        for _ in range(2):
            try:
                if not protocol.is_idle(connection):
                    await command(connection, "ROLLBACK")
                await command(connection, "SELECT 1")
            except psycopg.errors.QueryCanceled:
                continue
            except psycopg.Error:
                return False
            return True
        connection.finish()
        return False

    async def restore(self, connection: Connection) -> None:
        """Nothing: the pool resets the connection when it is returned."""
