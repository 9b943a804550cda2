"""Limits of a statement: read-only access, timeout, rows, bytes and notices."""

import pytest

from db.runs import ResultPages, RunState, Truncated
from tests.fixtures.runs import Desk

TRAP = """DO $$ BEGIN
  LOOP
    BEGIN PERFORM pg_sleep(10); EXCEPTION WHEN query_canceled THEN NULL; END;
  END LOOP;
END $$"""
DEAF = """DO $$ BEGIN
  PERFORM set_config('statement_timeout', '0', false);
  LOOP
    BEGIN PERFORM pg_sleep(10); EXCEPTION WHEN query_canceled THEN NULL; END;
  END LOOP;
END $$"""


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO kept VALUES (1)",
        "WITH w AS (INSERT INTO kept VALUES (1) RETURNING a) SELECT * FROM w",
        "CREATE TABLE more (a int)",
        "SET TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "DO $$ BEGIN SET LOCAL transaction_read_only = off; INSERT INTO kept VALUES (1); END $$",
        "DO $$ BEGIN COMMIT; INSERT INTO kept VALUES (1); END $$",
        "DO $$ BEGIN ROLLBACK; SET TRANSACTION READ WRITE; INSERT INTO kept VALUES (1); END $$",
        "SELECT nextval('counter')",
        "VACUUM kept",
    ],
)
async def test_read_only_cannot_be_switched_off(desk: Desk, statement: str) -> None:
    await desk.run("DROP TABLE IF EXISTS kept")
    await desk.run("CREATE TABLE kept (a int)")
    await desk.run("CREATE SEQUENCE IF NOT EXISTS counter")
    run = await desk.run(statement, read_only=True)
    assert run.state == RunState.FAILED, run
    assert await desk.rows(await desk.run("SELECT * FROM kept")) == []


async def test_read_only_allows_reads(desk: Desk) -> None:
    for statement in ("SELECT 1", "SHOW work_mem", "EXPLAIN SELECT 1", "VALUES (1)"):
        run = await desk.run(statement, read_only=True)
        assert (run.state, run.error) == (RunState.SUCCEEDED, None)


async def test_session_state_is_not_shared_between_runs(desk: Desk) -> None:
    for statement, made in (
        ("SET work_mem = '77MB'", "setting"),
        ("SELECT pg_advisory_lock(1)", "advisory lock"),
        ("PREPARE p AS SELECT 1", "prepared statement"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "cursor"),
        ("LISTEN news", "registration of LISTEN"),
        ("CREATE TEMP TABLE t2 AS SELECT 1", "temporary object"),
        ("SELECT 1 AS a INTO TEMPORARY t3", "temporary object"),
    ):
        run = await desk.run(statement)
        last = run.parsed_notices[-1]
        assert (run.state, last.severity, last.sqlstate) == (RunState.SUCCEEDED, "WARNING", None)
        assert f"The {made} ended with this run" in last.message
        assert "`openSession`" in (last.hint or "")
    local = (await desk.run("SET LOCAL work_mem = '77MB'")).parsed_notices
    assert [notice.sqlstate for notice in local] == ["25P01"]  # PostgreSQL's own warning
    assert not (await desk.run("CREATE TABLE IF NOT EXISTS temp (temp int)")).parsed_notices
    await desk.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    assert await desk.rows(await desk.run("SHOW work_mem")) != [["77MB"]]
    assert (await desk.run("CREATE TEMP TABLE t AS SELECT 1")).state == RunState.SUCCEEDED
    assert (await desk.run("SELECT * FROM t")).state == RunState.FAILED


@pytest.mark.parametrize("statement", [TRAP, DEAF, "SELECT pg_sleep(60)"])
@pytest.mark.usefixtures("real_limits")
async def test_timeout_applies_to_every_statement(desk: Desk, statement: str) -> None:
    run = await desk.run(statement, timeout_ms=300)
    assert run.state == RunState.TIMED_OUT  # how soon: bench/runs.py


async def test_timeout_set_by_statement_is_its_own_error(desk: Desk) -> None:
    run = await desk.run("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '57014'; END $$")
    assert run.state == RunState.FAILED


@pytest.mark.usefixtures("real_limits")
async def test_timeout_terminates_statement_that_traps_cancel(desk: Desk) -> None:
    run = await desk.start(TRAP)
    await desk.until_backend(run)
    verdict = await desk.runner.cancel(desk.owner, run.id)
    assert (verdict.outcome, verdict.run.state) == ("TERMINATED", RunState.CANCELLED)
    assert not verdict.connection_usable
    left = await desk.run(
        "SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%query_canceled%' "
        "AND pid <> pg_backend_pid()"
    )
    assert await desk.rows(left) == [[0]]


async def test_limits_truncate_result_with_reason(desk: Desk) -> None:
    series = "SELECT i FROM generate_series(1, 1000) AS i"
    run = await desk.run(series, max_rows=250)
    assert (run.state, run.row_count) == (RunState.SUCCEEDED, 250)
    assert run.parsed_truncated == Truncated(reason="MAX_ROWS", limit=250)
    assert await desk.rows(run, offset=248) == [[249], [250]]
    whole = await desk.run(series, max_rows=1_000)
    assert (whole.row_count, whole.truncated) == (1_000, None)
    few = await desk.run(series, max_bytes=100)
    assert few.parsed_truncated == Truncated(reason="MAX_BYTES", limit=100)
    assert few.result_bytes <= 100
    assert (await desk.rows(few))[-1] == [few.row_count]


async def test_limits_stop_endless_result(desk: Desk) -> None:
    run = await desk.run("SELECT generate_series(1, 1e12::int8)", max_rows=10, timeout_ms=10_000)
    assert (run.state, run.row_count, run.error) == (RunState.SUCCEEDED, 10, None)


@pytest.mark.parametrize("read_only", [True, False])
async def test_command_is_told_when_a_limit_stops_the_statement(
    desk: Desk, *, read_only: bool
) -> None:
    """The statement is cancelled before the server sends its tag."""
    for statement, command in (
        ("WITH a AS (SELECT 1) SELECT generate_series(1, 1e12::int8) FROM a", "SELECT"),
        ("VALUES (1), (2), (3)", "SELECT"),
        ("EXPLAIN SELECT 1 WHERE random() < 1", "EXPLAIN"),
    ):
        run = await desk.run(statement, max_rows=1, read_only=read_only)
        assert run.parsed_truncated == Truncated(reason="MAX_ROWS", limit=1), run
        assert (run.state, run.command, run.rows_affected) == (RunState.SUCCEEDED, command, None)


async def test_limits_do_not_roll_back_writes(desk: Desk) -> None:
    await desk.run("DROP TABLE IF EXISTS written")
    await desk.run("CREATE TABLE written (a int)")
    run = await desk.run(
        "INSERT INTO written SELECT generate_series(1, 5000) RETURNING a", max_rows=10
    )
    assert (run.state, run.row_count, run.rows_affected) == (RunState.SUCCEEDED, 10, 5_000)
    count = await desk.run("SELECT count(*) FROM written")
    assert await desk.rows(count) == [["5000"]]


async def test_limits_truncate_long_cell(desk: Desk) -> None:
    desk.limit(max_cell=1_000)
    run = await desk.run("SELECT repeat('x', 5000) AS a, 1 AS b")
    assert run.parsed_truncated == Truncated(reason="MAX_CELL", limit=1_000)
    assert await desk.rows(run) == [["x" * 1_000, 1]]


async def test_notices_are_limited(desk: Desk) -> None:
    run = await desk.run(
        "DO $$ BEGIN FOR i IN 1..500 LOOP RAISE WARNING 'no %', i; END LOOP; END $$"
    )
    notices = run.parsed_notices
    assert (len(notices), notices[0].message, notices[0].severity) == (100, "no 1", "WARNING")


async def test_lost_connection_reports_unknown_outcome(desk: Desk) -> None:
    run = await desk.start("SELECT pg_sleep(60)")
    pid = await desk.until_backend(run)
    await desk.cut(pid)
    over = await desk.end_of(run)
    assert over.state == RunState.FAILED
    assert over.parsed_error is not None
    assert (over.parsed_error.sqlstate, over.parsed_error.severity) == ("57P01", "FATAL")
    assert over.parsed_error.message.startswith("terminating connection due to administrator")
    assert "the outcome is unknown" in (over.parsed_error.hint or "")


async def test_error_that_ends_the_connection_keeps_its_reason(desk: Desk) -> None:
    """The transaction timeout, which PostgreSQL 17 and newer have, is not the one of the run."""
    if await desk.target.version() < 170_000:
        pytest.skip("PostgreSQL has no transaction_timeout here")
    await desk.run("SELECT 1")
    over = await desk.run("SELECT set_config('transaction_timeout', '50', false), pg_sleep(30)")
    assert (over.state, over.connection_usable) == (RunState.FAILED, False)
    assert over.parsed_error is not None
    assert (over.parsed_error.sqlstate, over.parsed_error.severity) == ("25P04", "FATAL")
    assert "outcome is unknown" in (over.parsed_error.hint or "")


async def test_warning_with_the_code_of_a_shutdown_does_not_fail_the_run(desk: Desk) -> None:
    """A server that is shut down at once sends its reason as a WARNING, then ends."""
    warns = "DO $$ BEGIN RAISE WARNING 'going down' USING ERRCODE = '57P01'; {} END $$"
    assert (await desk.run(warns.format(""))).state == RunState.SUCCEEDED
    failed = await desk.run(warns.format("PERFORM 1 / 0;"))
    assert failed.parsed_error is not None
    assert failed.parsed_error.sqlstate == "22012"


async def test_statement_is_never_retried(desk: Desk) -> None:
    await desk.run("CREATE SEQUENCE IF NOT EXISTS tries")
    await desk.run("SELECT setval('tries', 1)")
    await desk.run("SELECT nextval('tries'), pg_terminate_backend(pg_backend_pid())")
    assert await desk.rows(await desk.run("SELECT last_value FROM tries")) == [["2"]]


async def test_wide_rows_are_stored_one_by_one(desk: Desk) -> None:
    """With the batch size of narrow rows, they would fill the memory."""
    run = await desk.run("SELECT repeat('x', 1000000) FROM generate_series(1, 60) i")
    assert (run.state, run.row_count, run.truncated) == (RunState.SUCCEEDED, 60, None)
    async with desk.server.database.read() as session:
        pages = await ResultPages(session, desk.owner).list_overlapping(run.id, 0, 60)
    for page in pages:
        starts = [(0, 0), *page.ends]
        taken = [end[1] - start[1] for start, end in zip(starts, page.ends, strict=False)]
        assert max(taken) < 1_500_000
    assert await desk.rows(run, offset=59) == [["x" * 1_000_000]]


async def test_limits_truncate_wide_cell_among_narrow_rows(desk: Desk) -> None:
    desk.limit(max_cell=1_000)
    run = await desk.run(
        "SELECT repeat('x', CASE i WHEN 30 THEN 9999 ELSE 1 END) FROM generate_series(1, 60) i"
    )
    assert run.parsed_truncated == Truncated(reason="MAX_CELL", limit=1_000)
    assert [len(row[0]) for row in await desk.rows(run)] == [1] * 29 + [1_000] + [1] * 30
