"""Statements on a real server, and their stored results."""

from db.runs import RunState
from tests.fixtures.runs import Desk


async def test_run_returns_rows_and_columns(desk: Desk) -> None:
    run = await desk.run("SELECT 1 AS a, 9007199254740993 AS b, NULL AS c, true AS d, 'ö' AS e")
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert [(one.name, one.type) for one in run.parsed_columns or ()] == [
        ("a", "int4"),
        ("b", "int8"),
        ("c", "text"),
        ("d", "bool"),
        ("e", "text"),
    ]
    assert await desk.rows(run) == [[1, "9007199254740993", None, True, "ö"]]
    assert (run.row_count, run.command, run.rows_affected) == (1, "SELECT", None)


async def test_run_returns_columns_without_rows(desk: Desk) -> None:
    run = await desk.run("SELECT 1 AS a WHERE false")
    assert run.state == RunState.SUCCEEDED
    assert [one.name for one in run.parsed_columns or ()] == ["a"]
    assert (run.row_count, await desk.rows(run)) == (0, [])


async def test_cancel_returns_cancelled(desk: Desk) -> None:
    run = await desk.start("SELECT pg_sleep(60)")
    result = await desk.runner.cancel(desk.owner, run.id)
    assert (result.outcome, result.run.state, result.connection_usable) == (
        RunState.CANCELLED,
        RunState.CANCELLED,
        True,
    )


async def test_timeout_ends_run_as_timed_out(desk: Desk) -> None:
    run = await desk.run("SELECT pg_sleep(60)", timeout_ms=100)
    assert run.state == RunState.TIMED_OUT
