"""Imports the rows of a file in a bucket into a table of a user's database."""

from typing import Protocol

from db.connections import Connections
from db.database_sessions import DatabaseSessions
from db.kit.base import OwnerId
from db.kit.idempotency import Idempotency, NewId
from db.postgres.engine import Database
from db.runs import Runs
from db.workbench.copy.import_request import ImportRequest
from db.workbench.copy.import_sources import ImportSources
from db.workbench.execution.request.run_request import ImportTarget, RunRequest, import_forbidden
from db.workbench.execution.runner import Runner
from db.workbench.execution.submission import SubmittedRun


class ImportServices(Protocol):
    """The services that an import uses."""

    @property
    def database(self) -> Database: ...

    @property
    def import_sources(self) -> ImportSources: ...

    @property
    def runner(self) -> Runner: ...


async def import_rows(
    services: ImportServices,
    owner: OwnerId,
    target: ImportTarget,
    request: ImportRequest,
    *,
    key: str | None = None,
) -> SubmittedRun:
    """Starts or queues a run that copies all rows of the file, or none.

    A retry with the same key returns the same run, also if the file was deleted meanwhile.
    """
    request.validate()
    if key is not None:
        async with services.database.read() as session:
            found = await Idempotency(session, owner).find_answer(
                key, target.call(request), answer=NewId
            )
            if found is not None:
                run = await Runs(session, owner).require(found.id)
                return SubmittedRun(run, replayed=True)
    await _require_writable(services.database, owner, target)
    statement, planned = await services.import_sources.plan(owner, request)
    run_request = RunRequest(
        target.connection_id,
        statement,
        timeout_ms=target.timeout_ms,
        session_id=target.session_id,
        imported=planned,
    )
    return await services.runner.submit(owner, run_request, key=key)


async def _require_writable(database: Database, owner: OwnerId, target: ImportTarget) -> None:
    """Checked before the file is read, and again with the submission."""
    async with database.read() as session:
        if target.session_id is not None:
            held = await DatabaseSessions(session, owner).require(
                target.session_id, field="sessionId"
            )
            if held.read_only:
                raise import_forbidden("This session is read-only.", field="sessionId")
        elif target.connection_id is not None:
            connection = await Connections(session, owner).require(
                target.connection_id, field="connectionId"
            )
            if connection.read_only:
                raise import_forbidden("This connection is read-only.", field="connectionId")
