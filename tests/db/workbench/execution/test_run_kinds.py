"""Every kind of statement succeeds or fails with a reason, and leaves no state behind."""

from typing import Any

import pytest

from db.runs import RunRow, RunState
from tests.fixtures.runs import Desk

SETUP = (
    "DROP TABLE IF EXISTS kinds, made CASCADE",
    "CREATE TABLE kinds (a int PRIMARY KEY, b text)",
    "INSERT INTO kinds VALUES (1, 'x'), (2, 'y')",
    """CREATE OR REPLACE PROCEDURE answers(a int, OUT b int, INOUT c text) LANGUAGE plpgsql
       AS $$ BEGIN b := a + 1; c := c || '!'; END $$""",
    """CREATE OR REPLACE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO kinds VALUES (8); COMMIT; INSERT INTO kinds VALUES (9); ROLLBACK; END $$""",
)
MERGE = """MERGE INTO kinds USING (VALUES (1, 'm'), (3, 'm')) s (a, b) ON kinds.a = s.a
  WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b)"""
UPSERT = "INSERT INTO kinds VALUES (1, 'n') ON CONFLICT"
TRACES = """SELECT (SELECT count(*) FROM pg_cursors WHERE name <> '')::int,
  (SELECT count(*) FROM pg_prepared_statements)::int,
  (SELECT count(*) FROM pg_listening_channels())::int, current_setting('work_mem'),
  (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')::int,
  current_user, to_regclass('pg_temp.passing')::text, current_setting('transaction_read_only')"""
CLEAN = [[0, 0, 0, "4MB", 0, "ada", None, "off"]]


@pytest.fixture
async def kinds(desk: Desk) -> Desk:
    for statement in SETUP:
        assert (await desk.run(statement)).error is None
    return desk


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 25, 1_003])
async def test_command_and_affected_rows_are_told_for_every_number_of_rows(
    kinds: Desk, count: int
) -> None:
    """libpq passes on ten rows at once, and the command tag with the last of them."""
    read = await kinds.run("SELECT generate_series(1, $1::int)", parameters=[count])
    assert (read.command, read.row_count, read.rows_affected) == ("SELECT", count, None)
    written = await kinds.run(
        "INSERT INTO kinds SELECT generate_series(11, 10 + $1::int) RETURNING a", parameters=[count]
    )
    assert (written.command, written.row_count, written.rows_affected) == ("INSERT", count, count)


async def left_clean(desk: Desk, run: RunRow) -> None:
    """The next run uses the same connection, without state of the previous one."""
    assert run.connection_usable in {True, None}, run
    assert await desk.rows(await desk.run(TRACES)) == CLEAN


@pytest.mark.parametrize(
    ("statement", "command", "affected", "rows"),
    [
        ("INSERT INTO kinds VALUES (3)", "INSERT", 1, None),
        ("INSERT INTO kinds VALUES (3), (4) RETURNING a", "INSERT", 2, [[3], [4]]),
        (f"{UPSERT} DO NOTHING", "INSERT", 0, None),
        (f"{UPSERT} (a) DO UPDATE SET b = excluded.b RETURNING *", "INSERT", 1, [[1, "n"]]),
        ("UPDATE kinds SET b = 'z' WHERE a > 1", "UPDATE", 1, None),
        ("UPDATE kinds SET b = 'z' WHERE false RETURNING a", "UPDATE", 0, []),
        ("DELETE FROM kinds", "DELETE", 2, None),
        ("DELETE FROM kinds WHERE a = 1 RETURNING b", "DELETE", 1, [["x"]]),
        (MERGE, "MERGE", 2, None),
        (
            f"{MERGE} RETURNING merge_action(), kinds.a",
            "MERGE",
            2,
            [["UPDATE", 1], ["INSERT", 3]],
        ),
        ("TRUNCATE kinds", "TRUNCATE TABLE", None, None),
        ("WITH d AS (DELETE FROM kinds RETURNING a) SELECT max(a) FROM d", "SELECT", None, [[2]]),
        ("WITH s AS (SELECT 7) INSERT INTO kinds SELECT * FROM s RETURNING a", "INSERT", 1, [[7]]),
        ("CREATE TABLE made AS SELECT * FROM kinds", "SELECT", 2, None),
        ("CREATE TABLE made (a int)", "CREATE TABLE", None, None),
        ("CREATE INDEX CONCURRENTLY ON kinds (b)", "CREATE INDEX", None, None),
        ("VACUUM (ANALYZE) kinds", "VACUUM", None, None),
        ("TABLE kinds", "SELECT", None, [[1, "x"], [2, "y"]]),
        ("VALUES (1), (2)", "SELECT", None, [[1], [2]]),
        ("SELECT FROM kinds", "SELECT", None, [[], []]),
        ("SHOW server_encoding", "SHOW", None, [["UTF8"]]),
        ("EXPLAIN (COSTS off) SELECT 1", "EXPLAIN", None, [["Result"]]),
        ("CALL answers(1, NULL, 'so')", "CALL", None, [[2, "so!"]]),
        ("DO $$ BEGIN PERFORM 1; END $$", "DO", None, None),
        ("NOTIFY something, 'so'", "NOTIFY", None, None),
        ("LISTEN something", "LISTEN", None, None),
        ("SET work_mem = '7MB'", "SET", None, None),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET", None, None),
        ("SET ROLE ada", "SET", None, None),
        ("RESET ALL", "RESET", None, None),
        ("DISCARD ALL", "DISCARD ALL", None, None),
        ("PREPARE p AS SELECT 1", "PREPARE", None, None),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE CURSOR", None, None),
        ("CREATE TEMP TABLE passing (a int)", "CREATE TABLE", None, None),
        ("SELECT pg_advisory_lock(7)::text", "SELECT", None, [[""]]),
    ],
)
async def test_statement_kinds_succeed(
    kinds: Desk, statement: str, command: str, affected: int | None, rows: list[Any] | None
) -> None:
    run = await kinds.run(statement)
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert (run.command, run.rows_affected) == (command, affected)
    assert (run.columns is None) == (rows is None)
    assert await kinds.rows(run) == (rows or [])
    await left_clean(kinds, run)


@pytest.mark.parametrize(
    ("statement", "sqlstate", "part"),
    [
        ("COPY kinds TO '/tmp/nowhere'", "42501", "COPY to a file"),
        ("COPY kinds FROM PROGRAM 'true'", "42501", "external program"),
        ("BEGIN", "0A000", "transaction"),
        ("/* so */ START TRANSACTION READ ONLY", "0A000", "transaction"),
        ("commit", "0A000", "transaction"),
        ("END", "0A000", "transaction"),
        ("ROLLBACK", "0A000", "transaction"),
        ("ABORT", "0A000", "transaction"),
        ("SAVEPOINT a", "0A000", "transaction"),
        ("RELEASE a", "0A000", "transaction"),
        ("ROLLBACK TO a", "0A000", "transaction"),
        ("PREPARE TRANSACTION 'a'", "0A000", "transaction"),
        ("-- nothing", "42601", "no statement"),
        ("/* nothing */ ;;", "42601", "no statement"),
        ("SELECT 1; SELECT 2", "42601", "more than one"),
        ("EXECUTE p", "26000", "does not exist"),
        ("DEALLOCATE p", "26000", "does not exist"),
        ("DECLARE c CURSOR FOR SELECT 1", "25P01", "transaction blocks"),
        ("FETCH ALL FROM c", "34000", "does not exist"),
        ("LOCK TABLE kinds", "25P01", "transaction blocks"),
        ("DO $$ BEGIN EXECUTE 'VACUUM kinds'; END $$", "25001", "from a function"),
        ("CHECKPOINT", "42501", "permission denied"),
        ("SELECT $1::int", "08P01", "requires 1"),
    ],
)
async def test_statement_kinds_fail_with_hint(
    kinds: Desk, statement: str, sqlstate: str, part: str
) -> None:
    run = await kinds.run(statement)
    error = run.parsed_error
    assert run.state == RunState.FAILED
    assert error is not None
    assert (error.sqlstate, part in error.message) == (sqlstate, True), error
    assert error.hint
    await left_clean(kinds, run)


async def test_procedure_may_commit(kinds: Desk) -> None:
    run = await kinds.run("CALL commits()")
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    kept = await kinds.run("SELECT a FROM kinds WHERE a > 7")
    assert await kinds.rows(kept) == [[8]]


async def test_explain_analyze_executes_statement(kinds: Desk) -> None:
    run = await kinds.run("EXPLAIN (ANALYZE, FORMAT JSON) DELETE FROM kinds")
    assert (run.state, run.command, run.row_count) == (RunState.SUCCEEDED, "EXPLAIN", 1)
    assert await kinds.rows(await kinds.run("SELECT a FROM kinds")) == []


async def test_create_database_runs_outside_transaction(kinds: Desk) -> None:
    await kinds.target.administer("ALTER ROLE ada CREATEDB")
    try:
        for statement in ("CREATE DATABASE made_by_ada", "DROP DATABASE made_by_ada"):
            run = await kinds.run(statement)
            assert (run.state, run.error) == (RunState.SUCCEEDED, None)
            await left_clean(kinds, run)
    finally:
        await kinds.target.administer("ALTER ROLE ada NOCREATEDB")
    refused = (await kinds.run("CREATE DATABASE made_by_ada")).parsed_error
    assert refused is not None
    assert (refused.sqlstate, "grant" in (refused.hint or "")) == ("42501", True)


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("INSERT INTO kinds VALUES (5)", "25006"),
        ("EXPLAIN ANALYZE DELETE FROM kinds", "25006"),
        ("SELECT a FROM kinds FOR UPDATE", "25006"),
        ("VACUUM kinds", "25001"),
        ("DO $$ BEGIN COMMIT; END $$", "2D000"),
    ],
)
async def test_read_only_run_refuses_writes_with_hint(
    kinds: Desk, statement: str, sqlstate: str
) -> None:
    run = await kinds.run(statement, read_only=True)
    error = run.parsed_error
    assert error is not None
    assert (run.state, error.sqlstate) == (RunState.FAILED, sqlstate)
    assert "readOnly" in (error.hint or "") or "read-only" in (error.hint or "")
    await left_clean(kinds, run)


async def test_notices_of_do_block_keep_their_order(kinds: Desk) -> None:
    run = await kinds.run(
        """DO $$ BEGIN RAISE NOTICE 'first' USING DETAIL = 'd', HINT = 'h';
           RAISE WARNING SQLSTATE '01234' USING MESSAGE = 'second'; RAISE INFO 'third'; END $$"""
    )
    received = [(one.severity, one.message, one.sqlstate) for one in run.parsed_notices]
    assert received == [
        ("NOTICE", "first", "00000"),
        ("WARNING", "second", "01234"),
        ("INFO", "third", "00000"),
    ]
    assert (run.parsed_notices[0].detail, run.parsed_notices[0].hint) == ("d", "h")


async def test_notifications_are_ignored(kinds: Desk) -> None:
    run = await kinds.run(
        """DO $$ BEGIN EXECUTE 'LISTEN loud';
           FOR i IN 1..1000 LOOP PERFORM pg_notify('loud', repeat('x', 7000) || i); END LOOP;
           END $$"""
    )
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    async with kinds.server.workbench.lend(kinds.owner, kinds.connection_id) as connection:
        assert not connection._notifies_backlog
    await left_clean(kinds, run)
