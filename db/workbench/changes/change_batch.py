"""Executes the changes of a run in one transaction: all of them, or none.

All statements are sent together, so that a hundred changes take the round trips of one.
"""

import contextlib
from collections.abc import Sequence

import msgspec
import psycopg

from db.runs import Ending, Failure, RunRow, RunState, Truncated, TruncationReason
from db.workbench.changes import failures
from db.workbench.changes.change_request import ChangeSource, changes_of
from db.workbench.changes.change_result import RESULT_COLUMNS, ChangeResult, Outcome
from db.workbench.changes.outcomes import Outcomes
from db.workbench.changes.query_results import MAX_RETURNED_BYTES, QueryFailed, StatementSender
from db.workbench.changes.statements import ChangePlanner, ChangeRefused, PlannedChange
from db.workbench.changes.table import (
    SEARCHED_NAMES,
    names_query,
    parse_table,
    table_query,
    unknown_table,
)
from db.workbench.connections.bounds.read_budget import RowTooLarge, UnexpectedRows
from db.workbench.connections.libpq import Connection, command
from db.workbench.execution.reading import protocol
from db.workbench.execution.run_failures import UNEXPECTED_ROWS
from db.workbench.execution.statement.batch import BatchContext
from db.workbench.results.value_conversion import to_chunk

CHUNK_RESULTS = 20
"""Results that are encoded together: one may have megabytes."""
_SAVEPOINT = "SAVEPOINT howdah_changes"
_ROLLBACK_TO = "ROLLBACK TO howdah_changes"
_RELEASE = "RELEASE howdah_changes"


class ChangeBatch:
    """Begins a transaction of its own, or joins that of the session by a savepoint."""

    def __init__(self, run: RunRow, source: ChangeSource) -> None:
        self.has_changed = False
        self._run = run
        self._source = source
        self._is_joined = False
        self._is_begun = False
        """Whether there is something to undo."""
        self._is_committing = False

    async def execute(self, connection: Connection, context: BatchContext) -> Ending:
        context.reader.columns = RESULT_COLUMNS
        try:
            return await self._execute(connection, context)
        except QueryFailed as error:
            failure = error.failure
            with contextlib.suppress(psycopg.Error):  # `undo` is called again
                await self.undo(connection)
        except (RowTooLarge, psycopg.errors.QueryCanceled):
            raise
        except UnexpectedRows:
            failure = UNEXPECTED_ROWS
            with contextlib.suppress(psycopg.Error):  # `undo` is called again
                await self.undo(connection)
        except psycopg.Error:
            failure = None
        if failure is None or connection.closed or failure.severity in protocol.FATAL:
            failure = self._lost(failure or context.reader.fatal)
        return Ending(state=RunState.FAILED, error=failure)

    async def undo(self, connection: Connection) -> None:
        """Leaves the transaction of the user as it was before the changes."""
        if self._is_begun and not connection.closed:
            sql = f"{_ROLLBACK_TO}; {_RELEASE}" if self._is_joined else "ROLLBACK"
            await command(connection, sql)
        self._is_begun = False

    async def _execute(self, connection: Connection, context: BatchContext) -> Ending:
        """Raises QueryFailed if PostgreSQL refuses what is not one of the changes."""
        sender = StatementSender(connection, context)
        await self._begin(connection, sender)
        try:
            planner, planned = await self._plan(connection)
        except _PlanFailed as error:
            await self.undo(connection)
            results = [ChangeResult(error.index, Outcome.FAILED)] if error.index is not None else []
            return await _not_changed(context, error.failure, results)
        try:
            made, failure = await sender.send([each.statement for each in planned]), None
        except QueryFailed as error:
            if connection.closed or error.failure.severity in protocol.FATAL:
                raise
            made, failure = error.results, error.failure
        outcomes = Outcomes(planner, planned, made, failure)
        if outcomes.all_applied:
            return await self._complete(sender, context, outcomes)
        await self._find_present(connection, sender, outcomes)
        outcomes.discard_applied()
        assert outcomes.failure is not None  # noqa: S101 - not all were applied
        return await _not_changed(context, outcomes.failure, outcomes.results)

    async def _begin(self, connection: Connection, sender: StatementSender) -> None:
        self._is_joined = not protocol.is_idle(connection)
        begin = "BEGIN" if self._run.session_id else "BEGIN ISOLATION LEVEL READ COMMITTED"
        await sender.send([_SAVEPOINT if self._is_joined else begin])
        self._is_begun = True

    async def _plan(self, connection: Connection) -> tuple[ChangePlanner, list[PlannedChange]]:
        schema, name = self._source.schema_name, self._source.table_name
        found = await protocol.query_catalogue(
            connection, table_query(schema, name), tuple[str], max_rows=1
        )
        if not found and protocol.is_in_transaction(connection):
            names = await protocol.query_catalogue(
                connection, names_query(schema), tuple[str, str], max_rows=SEARCHED_NAMES
            )
            raise _PlanFailed(unknown_table(schema, name, names))
        if not found:
            raise _PlanFailed(failures.CATALOGUE_UNREADABLE)
        table = parse_table(found[0][0])
        if table.refusal is not None:
            raise _PlanFailed(table.refusal)
        planner = ChangePlanner(schema, name, table)
        planned: list[PlannedChange] = []
        for index, change in enumerate(changes_of(self._run)):
            try:
                planned.append(planner.plan(change))
            except ChangeRefused as error:
                raise _PlanFailed(error.failure, index) from error
        return planner, planned

    async def _complete(
        self,
        sender: StatementSender,
        context: BatchContext,
        outcomes: Outcomes,
    ) -> Ending:
        """Commits, unless the session does it later, or the run is dry."""
        if context.is_stopped():
            raise QueryFailed(failures.STOPPED, [])
        is_dry = self._source.dry_run
        if self._is_joined:
            await sender.send([_ROLLBACK_TO, _RELEASE] if is_dry else [_RELEASE])
        elif is_dry:
            await sender.send(["SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK"])
        else:
            self._is_committing = True
            await sender.send(["COMMIT"])
        self._is_begun = False
        self.has_changed = not is_dry
        await _spool(context, outcomes.results)
        ending = Ending(state=RunState.SUCCEEDED)
        ending.command = "ROLLBACK" if is_dry else "RELEASE" if self._is_joined else "COMMIT"
        ending.rows_affected = None if is_dry else len(outcomes.results)
        if sender.is_truncated:
            ending.truncated = Truncated(TruncationReason.MAX_BYTES, MAX_RETURNED_BYTES)
        return ending

    async def _find_present(
        self, connection: Connection, sender: StatementSender, outcomes: Outcomes
    ) -> None:
        """Undoes the changes, then reads the rows that were not as expected."""
        if self._is_joined:
            await command(connection, _ROLLBACK_TO)
        else:
            await self.undo(connection)
        if probes := outcomes.probes:
            outcomes.record_present(await sender.send(probes))
        await self.undo(connection)

    def _lost(self, fatal: Failure | None) -> Failure:
        """`fatal` is the reason that the server gave, if it gave one."""
        known = failures.OUTCOME_UNKNOWN if self._is_committing else failures.LOST_BEFORE_COMMIT
        if fatal is None or fatal.sqlstate is None:
            return known
        return msgspec.structs.replace(fatal, code=known.code, hint=known.hint)


class _PlanFailed(Exception):
    """The table or a change is refused before anything is changed."""

    def __init__(self, failure: Failure, index: int | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.index = index


async def _not_changed(
    context: BatchContext, failure: Failure, results: Sequence[ChangeResult]
) -> Ending:
    await _spool(context, results)
    return Ending(state=RunState.FAILED, error=failure, keeps_rows=True)


async def _spool(context: BatchContext, results: Sequence[ChangeResult]) -> None:
    for start in range(0, len(results), CHUNK_RESULTS):
        part = results[start : start + CHUNK_RESULTS]
        await context.spool.add(to_chunk([result.to_cells() for result in part]))
