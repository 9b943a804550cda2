"""The worker of a session, and the rules of transaction texts."""

import asyncio

import psycopg
import pytest
from sqlalchemy import text

from db.database_sessions import CloseReason, DatabaseSessionRow, DatabaseSessions
from db.errors import Unavailable
from db.postgres.route.connect import Dropped
from db.postgres.statements import compile_change
from db.runs import RunRow, RunState
from db.workbench.connections.libpq import Connection, command
from db.workbench.execution.reading import protocol
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.sessions import holder, opening, session_use
from db.workbench.sessions.open_request import OpenRequest
from db.workbench.sessions.service import DatabaseSessionsService
from db.workbench.sessions.session_use import SessionUse
from db.workbench.sql.transaction_text import chains, rollback_instead, runs_without_begin
from tests.fixtures.dropped_commits import drop_after_commit
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk

_CLAIM = compile_change(
    text("UPDATE query_runs SET state = 'RUNNING', started_at = now() WHERE id = :id")
)


async def test_run_whose_claim_was_not_confirmed_is_executed(
    desk: Desk, database_sessions: DatabaseSessionsService
) -> None:
    """The worker lost the connection to our database when it committed the claim."""
    row = await database_sessions.open(desk.owner, OpenRequest(desk.connection_id))

    sleep = RunRequest(None, "SELECT pg_sleep(0.5)", session_id=row.id)
    await desk.runner.submit(desk.owner, sleep)
    request = RunRequest(None, "SELECT 2", session_id=row.id)
    run = (await desk.runner.submit(desk.owner, request)).run
    await desk.server.database.write(lambda session: session.rows(_CLAIM, id=run.id))
    ended = await desk.end_of(run)
    assert ended.state == RunState.SUCCEEDED


async def test_session_stays_open_after_an_end_that_was_not_confirmed(
    desk: Desk, database_sessions: DatabaseSessionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await database_sessions.open(desk.owner, OpenRequest(desk.connection_id))
    request = RunRequest(None, "BEGIN", session_id=row.id)
    drop_after_commit(monkeypatch, lambda answer: isinstance(answer, RunRow) and answer.is_finished)
    run = (await desk.runner.submit(desk.owner, request)).run
    assert (await desk.end_of(run)).state == RunState.SUCCEEDED
    request = RunRequest(None, "ROLLBACK", session_id=row.id)
    run = (await desk.runner.submit(desk.owner, request)).run
    ended = await desk.end_of(run)
    assert (ended.state, ended.parsed_notices) == (RunState.SUCCEEDED, [])
    assert database_sessions.open_count == 1


async def test_session_whose_opening_was_not_confirmed_is_closed(
    desk: Desk, database_sessions: DatabaseSessionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process holds it."""
    request = OpenRequest(desk.connection_id)
    drop_after_commit(monkeypatch, lambda answer: isinstance(answer, DatabaseSessionRow))
    with pytest.raises(Dropped):
        await database_sessions.open(desk.owner, request, key="one")
    row = await database_sessions.open(desk.owner, request, key="one")
    async with desk.server.database.read() as session:
        assert await DatabaseSessions(session, desk.owner).open_on(desk.connection_id) == [row]


async def test_caller_that_goes_away_leaves_session_open(
    desk: Desk, database_sessions: DatabaseSessionsService
) -> None:
    opening = asyncio.create_task(
        database_sessions.open(desk.owner, OpenRequest(desk.connection_id), key="one")
    )
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    row = await database_sessions.open(desk.owner, OpenRequest(desk.connection_id), key="one")
    assert row.backend_pid is not None
    assert database_sessions.open_count == 1


async def test_session_whose_end_cannot_be_recorded_is_not_held(
    desk: Desk, database_sessions: DatabaseSessionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await database_sessions.open(desk.owner, OpenRequest(desk.connection_id))
    assert database_sessions.holder is not None

    async def fail(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(holder, "close_session_row", fail)
    [task] = database_sessions.holder._tasks
    database_sessions.holder.held[row.id].close(CloseReason.CLIENT)
    async with patience():
        await asyncio.wait([task])
    assert database_sessions.open_count == 0


async def test_connection_lost_while_rights_are_read_is_no_internal_error(
    desk: Desk, database_sessions: DatabaseSessionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(_: object) -> None:
        raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(opening, "read_only_notice", lose)
    with pytest.raises(Unavailable):
        await database_sessions.open(desk.owner, OpenRequest(desk.connection_id, read_only=True))


async def test_late_cancel_fails_no_transaction(
    desk: Desk, database_sessions: DatabaseSessionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL looks for one before each statement, of which a text may have none."""
    row = await database_sessions.open(desk.owner, OpenRequest(desk.connection_id))
    assert database_sessions.holder is not None
    held = database_sessions.holder.held[row.id]
    connection, run = held._connection, await desk.run("SELECT 1")
    use = SessionUse(run, connection, held.backend, autocommit=True, take_notices=list)
    await command(connection, "BEGIN")

    async def cancelled(connection: Connection, sql: str) -> None:
        await command(connection, sql and "DO 'BEGIN RAISE query_canceled; END'")

    monkeypatch.setattr(session_use, "command", cancelled)
    assert await use.drain_cancels(connection)
    assert protocol.is_in_transaction(connection)


@pytest.mark.parametrize(
    ("statement", "is_alone"),
    [
        ("begin", True),
        (";; /* a */ COMMIT", True),
        ("ROLLBACK TO a", True),
        ("COMMIT PREPARED 'x'", True),
        ("PREPARE TRANSACTION 'x'", True),
        ("PREPARE a AS SELECT 1", False),
        ("SAVEPOINT a", False),
        ("RELEASE a", False),
        ("VACUUM (FULL) t", True),
        ("CLUSTER", True),
        ("CLUSTER t", False),
        ("create unique index concurrently i on t (a)", True),
        ("CREATE INDEX i ON t (a)", False),
        ("CREATE DATABASE d", True),
        ("ALTER SYSTEM SET a = 1", True),
        ("ALTER TABLE t ADD a int", False),
        ("DROP INDEX CONCURRENTLY i", True),
        ("DROP TABLE t", False),
        ("REINDEX TABLE CONCURRENTLY t", True),
        ("REINDEX DATABASE d", True),
        ("DISCARD ALL", True),
        ("DISCARD PLANS", False),
        ("SELECT 1", False),
        ("(SELECT 1)", False),
    ],
)
def test_statement_without_begin_is_as_in_psql(statement: str, *, is_alone: bool) -> None:
    assert runs_without_begin(statement) is is_alone


@pytest.mark.parametrize(
    ("statement", "instead"),
    [
        ("COMMIT", "ROLLBACK"),
        ("end work", "ROLLBACK"),
        ("COMMIT AND CHAIN", "ROLLBACK AND CHAIN"),
        ("COMMIT WORK AND CHAIN", "ROLLBACK AND CHAIN"),
        ("COMMIT AND NO CHAIN", "ROLLBACK"),
        ("COMMIT -- the end", "ROLLBACK"),
        ("COMMIT; INSERT INTO t VALUES (1)", None),
        ("COMMIT now", None),
        ("COMMIT PREPARED 'x'", None),
        ("ROLLBACK", None),
        ("SELECT 1", None),
    ],
)
def test_commit_of_read_only_session_is_a_rollback(statement: str, instead: str | None) -> None:
    assert rollback_instead(statement) == instead


def test_rollback_to_savepoint_chains_nothing() -> None:
    assert not chains("ROLLBACK TO SAVEPOINT chain")
    assert chains("ABORT TRANSACTION AND CHAIN")
