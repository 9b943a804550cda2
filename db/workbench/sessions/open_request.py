"""A request to open a session, and its validation against the operator's limits."""

from typing import NamedTuple
from uuid import UUID

from db.connections import ConnectionRow
from db.database_sessions import IsolationLevel, NewSession
from db.kit.text_rules import Required
from db.workbench.execution.request.run_request import check_range

MIN_TIMEOUT_MS = 1_000

name_rule = Required("name", max_length=200)


class SessionLimits(NamedTuple):
    """Limits of one user, and the time-outs of a session in milliseconds."""

    max_open: int = 10
    idle_ms: int = 30 * 60_000
    max_idle_ms: int = 12 * 3_600_000
    transaction_ms: int = 15 * 60_000
    max_transaction_ms: int = 4 * 3_600_000


class OpenRequest(NamedTuple):
    """A session to open. None uses the default of the connection or of the server."""

    connection_id: UUID
    name: str | None = None
    autocommit: bool | None = None
    read_only: bool | None = None
    isolation_level: IsolationLevel | None = None
    idle_timeout_ms: int | None = None
    transaction_timeout_ms: int | None = None
    for_script: bool = False

    def to_new_session(self, connection: ConnectionRow, limits: SessionLimits) -> NewSession:
        """Raises BadInput if an option is out of range."""
        idle_ms, transaction_ms = self.idle_timeout_ms, self.transaction_timeout_ms
        least = MIN_TIMEOUT_MS
        check_range("idleTimeoutMs", idle_ms, limits.max_idle_ms, least=least)
        check_range("transactionTimeoutMs", transaction_ms, limits.max_transaction_ms, least=least)
        level = self.isolation_level
        return NewSession(
            connection_id=self.connection_id,
            name=connection.name if self.name is None else name_rule.checked(self.name),
            autocommit=self.autocommit is not False,
            read_only=connection.read_only or self.read_only is True,
            isolation_level=None if level is None else str(level),
            idle_timeout_ms=idle_ms or min(limits.idle_ms, limits.max_idle_ms),
            transaction_timeout_ms=transaction_ms
            or min(limits.transaction_ms, limits.max_transaction_ms),
            for_script=self.for_script,
        )
