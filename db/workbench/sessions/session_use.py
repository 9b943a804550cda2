"""The use of a session's connection by one run: nothing of the session is reset."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import psycopg

from db.runs import Backend, Failure, RunRow, ServerNotice
from db.workbench.connections.libpq import Connection, command
from db.workbench.copy.interfaces import CopySource
from db.workbench.execution.reading import protocol
from db.workbench.execution.reading.column_sources import IDLE, IN_TRANSACTION, Frame
from db.workbench.execution.statement.connection_use import ConnectionUse
from db.workbench.sql.explain_text import is_rolled_back
from db.workbench.sql.sql_text import controls_transaction
from db.workbench.sql.transaction_text import (
    changes_settings_only,
    prepares_transaction,
    rollback_instead,
    runs_without_begin,
)

_BEGIN = "BEGIN"
_BEGIN_READ_ONLY = "BEGIN READ ONLY; SELECT 1"
"""PostgreSQL refuses SET TRANSACTION READ WRITE after the first query of a transaction."""
_FIX_READ_ONLY = "SET TRANSACTION READ ONLY; SELECT 1"

_SAVEPOINT = "SAVEPOINT howdah_plan"
_ROLL_BACK_TO_SAVEPOINT = "ROLLBACK TO howdah_plan; RELEASE howdah_plan"

PREPARED_TRANSACTION = Failure(
    message="A read-only session cannot prepare a transaction.",
    sqlstate="0A000",
    severity="ERROR",
    hint="Use ROLLBACK to end the transaction, or a session without `readOnly`.",
)


class SessionUse(ConnectionUse):
    """Begins a transaction where the session asks for it, and keeps a read-only session so.

    In a read-only session every transaction is read-only and is rolled back at its end, because
    such a transaction can still change sequences and, before PostgreSQL 16, large objects.
    """

    keeps_state = True
    records_backend = False

    def __init__(
        self,
        run: RunRow,
        connection: Connection,
        backend: Backend,
        *,
        autocommit: bool,
        take_notices: Callable[[], list[ServerNotice]],
        copy_in: CopySource | None = None,
        begins: bool = False,
        prelude: str | None = None,
    ) -> None:
        """`take_notices` returns what the session was sent outside statements.

        `begins` begins a transaction that lasts beyond the statement. `prelude` is sent between
        that BEGIN, if any, and the statement.
        """
        super().__init__(run)
        self._connection = connection
        self._backend = backend
        self._autocommit = autocommit
        self.copy_in = copy_in
        self._take_notices = take_notices
        self._begins = begins
        self._prelude = prelude
        self._controls = controls_transaction(run.statement)
        self._is_wrapped = False
        """Whether the transaction is for this statement alone."""
        self._has_begun = False
        self._was_open = False
        """Whether the statement is part of a transaction of the user."""
        self._is_rolled_back = is_rolled_back(run.statement)
        self._has_savepoint = False

    @property
    def statement(self) -> str:
        text = self.run.statement
        return (rollback_instead(text) if self.run.read_only else None) or text

    def reject(self) -> Failure | None:
        if self.run.read_only and prepares_transaction(self.run.statement):
            return PREPARED_TRANSACTION
        return super().reject()

    def lend(self) -> AbstractAsyncContextManager[Connection]:
        return contextlib.nullcontext(self._connection)

    def late_notices(self) -> list[ServerNotice]:
        """As psql does, after the command."""
        return self._take_notices()

    async def prepare(self, connection: Connection, *, until: float) -> Backend:  # noqa: ARG002
        """Sets no `statement_timeout`: that of the user counts, and ours is a timer."""
        begins, prelude = self._begins, self._prelude
        if not begins and prelude is None and protocol.is_idle(connection) and self._needs_begin():
            begins, self._is_wrapped = True, self._autocommit or self._is_rolled_back
        begin = _BEGIN_READ_ONLY if self.run.read_only else _BEGIN
        self._has_begun = begins
        sent = [*([begin] if begins else []), *([prelude] if prelude else [])]
        if self._is_rolled_back and not self._is_wrapped:
            self._has_savepoint = prelude is not None or not protocol.has_failed(connection)
            sent += [_SAVEPOINT] if self._has_savepoint else []
        if sent:
            await command(connection, "; ".join(sent))
        self._was_open = not self._is_wrapped and not protocol.is_idle(connection)
        return self._backend

    def _needs_begin(self) -> bool:
        """Whether a transaction has to begin before the statement, which is outside one."""
        if self._is_rolled_back:
            return True
        if self._autocommit:
            return self.run.read_only and not self._controls
        is_sent_alone = runs_without_begin(self.run.statement)
        # What PostgreSQL refuses in a transaction, it has to refuse in a read-only session.
        return not is_sent_alone or (self.run.read_only and not self._controls)

    def may_cancel_early(self, connection: Connection) -> bool | None:  # noqa: ARG002
        """A cancel fails the transaction of the user: the rows beyond the limit are discarded."""
        if self._is_wrapped:
            return True
        return False if self._was_open else None

    def frame(self, connection: Connection) -> Frame:
        return IDLE if protocol.is_idle(connection) else IN_TRANSACTION

    async def complete(self, connection: Connection) -> None:
        """Nothing: `restore` follows whatever the outcome."""

    async def drain_cancels(self, connection: Connection) -> bool:
        """Sends empty queries: no cancel request can fail them, and with them a transaction.

        PostgreSQL looks for a request before each statement, and forgets it between two messages.
        """
        try:
            for _ in range(2):
                await command(connection, "")
        except psycopg.Error:
            return not connection.closed
        return True

    async def restore(self, connection: Connection) -> None:
        connection.slot.release()
        if self.batch is not None:
            await self.batch.undo(connection)
            if self._has_begun and not self.batch.has_changed:
                await command(connection, "ROLLBACK")
                return
        if self._is_wrapped and not protocol.is_idle(connection):
            keeps = changes_settings_only(self.run.statement)
            await command(connection, "COMMIT" if keeps else "ROLLBACK")
        elif self._has_savepoint and not protocol.is_idle(connection):
            await command(connection, _ROLL_BACK_TO_SAVEPOINT)
        elif self.run.read_only and self._controls and protocol.is_in_transaction(connection):
            await command(connection, _FIX_READ_ONLY)
