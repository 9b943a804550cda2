"""What statements do on a real server, and what is kept of it."""

import pytest

from db.runs import CANCELLED, FAILED, SUCCEEDED, TIMED_OUT
from tests.fixtures.runs import Desk


async def test_rows_come_back_as_they_were(desk: Desk) -> None:
    run = await desk.run("SELECT 1 AS a, 9007199254740993 AS b, NULL AS c, true AS d, 'ö' AS e")
    assert (run.state, run.error) == (SUCCEEDED, None)
    assert [(one.name, one.type) for one in run.opened_columns or ()] == [
        ("a", "int4"),
        ("b", "int8"),
        ("c", "text"),
        ("d", "bool"),
        ("e", "text"),
    ]
    assert await desk.rows(run) == [[1, "9007199254740993", None, True, "ö"]]
    assert (run.row_count, run.command, run.rows_affected) == (1, "SELECT", None)


async def test_without_rows_there_are_columns(desk: Desk) -> None:
    run = await desk.run("SELECT 1 AS a WHERE false")
    assert run.state == SUCCEEDED
    assert [one.name for one in run.opened_columns or ()] == ["a"]
    assert (run.row_count, await desk.rows(run)) == (0, [])


@pytest.mark.parametrize(
    ("statement", "command", "affected", "rows"),
    [
        ("INSERT INTO kinds VALUES (1), (2) RETURNING a", "INSERT", 2, [[1], [2]]),
        ("INSERT INTO kinds VALUES (3)", "INSERT", 1, []),
        ("UPDATE kinds SET a = 9", "UPDATE", 0, []),
        ("CREATE TABLE other (a int)", "CREATE TABLE", None, []),
        ("SHOW server_encoding", "SHOW", None, [["UTF8"]]),
        ("DO $$ BEGIN RAISE NOTICE 'hello'; END $$", "DO", None, []),
        ("LISTEN something", "LISTEN", None, []),
        ("VACUUM kinds", "VACUUM", None, []),
        ("CALL nothing()", "CALL", None, []),
    ],
)
async def test_statements_of_every_kind(
    desk: Desk, statement: str, command: str, affected: int | None, rows: list[object]
) -> None:
    await desk.run("DROP TABLE IF EXISTS kinds, other")
    await desk.run("CREATE TABLE kinds (a int)")
    await desk.run("CREATE OR REPLACE PROCEDURE nothing() LANGUAGE sql AS ''")
    run = await desk.run(statement)
    assert (run.state, run.error) == (SUCCEEDED, None)
    assert (run.command, run.rows_affected, await desk.rows(run)) == (command, affected, rows)


async def test_cancel(desk: Desk) -> None:
    run = await desk.start("SELECT pg_sleep(60)")
    verdict = await desk.runner.cancel(desk.owner, run.id)
    assert (verdict.outcome, verdict.run.state, verdict.connection_usable) == (
        CANCELLED,
        CANCELLED,
        True,
    )


async def test_timeout(desk: Desk) -> None:
    run = await desk.run("SELECT pg_sleep(60)", timeout_ms=100)
    assert run.state == TIMED_OUT


async def test_error(desk: Desk) -> None:
    run = await desk.run("SELECT 'ö',\n  nothing_of_that_name")
    assert run.state == FAILED
    error = run.opened_error
    assert error is not None
    assert (error.sqlstate, error.position, error.line, error.column) == ("42703", 15, 2, 3)
