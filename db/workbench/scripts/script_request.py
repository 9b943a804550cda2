"""A request to execute a script, and its validation."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from db.connections import ConnectionRow
from db.errors import BadInput
from db.kit.audit import current_actor
from db.kit.text_rules import require_storable
from db.scripts import NewScript, OnError, ScriptTransaction
from db.workbench.execution.request.run_request import (
    RunLimits,
    RunRequest,
    check_range,
)
from db.workbench.scripts.splitter import StatementRange, split_script
from db.workbench.sql.sql_text import controls_transaction


class ScriptRequest(NamedTuple):
    """A script and its options. None uses the default of the connection or of the server."""

    script: str
    connection_id: UUID | None = None
    session_id: UUID | None = None
    on_error: OnError = OnError.STOP
    transaction: ScriptTransaction = ScriptTransaction.EACH
    timeout_ms: int | None = None
    max_rows: int | None = None
    read_only: bool | None = None

    def validate(self, limits: RunLimits) -> list[StatementRange]:
        """Returns the statements. Takes up to 1 s for the longest script.

        Raises:
            BadInput: An option is out of range, or the script cannot be executed as a whole.
            TooLarge: The script is too long, or has too many statements.
        """
        require_storable("script", self.script)
        check_range("timeoutMs", self.timeout_ms, limits.max_timeout_ms)
        check_range("maxRows", self.max_rows, limits.max_rows)
        found = split_script(self.script)
        if not found:
            raise BadInput(
                "`script` contains no statement.", hint="Pass SQL statements.", field="script"
            )
        if self.transaction is ScriptTransaction.SINGLE:
            self._require_no_transaction_control(found)
        return found

    def to_new_script(
        self,
        connection: ConnectionRow,
        limits: RunLimits,
        *,
        statement_count: int,
        read_only: bool,
    ) -> NewScript:
        """Fills in the defaults of the connection, then those of the server."""
        options = RunRequest(
            connection.id,
            self.script,
            timeout_ms=self.timeout_ms,
            max_rows=self.max_rows,
            read_only=read_only,
        ).to_new_run(connection, limits)
        return NewScript(
            connection_id=connection.id,
            session_id=self.session_id,
            owns_session=self.session_id is None,
            script=self.script,
            statement_count=statement_count,
            on_error=self.on_error,
            transaction=self.transaction,
            read_only=options.read_only,
            timeout_ms=options.timeout_ms,
            max_rows=options.max_rows,
            max_bytes=options.max_bytes,
            actor=msgspec.json.encode(current_actor.get()).decode(),
        )

    def _require_no_transaction_control(self, statements: list[StatementRange]) -> None:
        for one in statements:
            if controls_transaction(self.script[one.start : one.end]):
                raise BadInput(
                    f"Line {one.line} has `{one.kind}`, but the script is one transaction.",
                    hint="Remove the statement, or pass `transaction: EACH`.",
                    field="script",
                )
