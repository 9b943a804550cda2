"""Statements of a session tell the same as runs, and leave what the session keeps."""

import pytest

from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.fixtures.targets import Target


@pytest.fixture
async def desk(ada: Client, target: Target) -> SessionDesk:
    return await open_session(ada, await make_connection_to(ada, target))


@pytest.mark.parametrize("begin", ["", "BEGIN", "BEGIN READ ONLY"])
async def test_session_is_held_to_utf8(desk: SessionDesk, begin: str) -> None:
    if begin:
        await desk.do(begin)
    changed = await desk.do("SET client_encoding = 'LATIN1'")
    assert [notice["severity"] for notice in changed["notices"]] == ["WARNING"]
    assert await desk.rows("SELECT 'é한', current_setting('client_encoding')") == [["é한", "UTF8"]]
    lossy = await desk.execute("SELECT set_config('client_encoding', 'LATIN1', false), 'é'")
    assert (lossy["state"], lossy["rowCount"]) == ("FAILED", 0)
    if begin:
        assert await desk.state() == "IN_TRANSACTION"
        await desk.roll_back()
    assert await desk.rows("SELECT 'é한', current_setting('client_encoding')") == [["é한", "UTF8"]]


async def test_session_keeps_state_without_notice(desk: SessionDesk) -> None:
    for statement in ("SET work_mem = '9MB'", "CREATE TEMP TABLE t ()", "PREPARE p AS SELECT 1"):
        assert (await desk.do(statement))["notices"] == []


async def test_session_takes_json_arrays_as_parameters(desk: SessionDesk) -> None:
    await desk.do("BEGIN")
    await desk.do("CREATE TYPE pg_temp.mood AS ENUM ('sad')")
    statement = "SELECT $1::pg_temp.mood[]::text, 2 = ANY($2)"
    assert await desk.rows(statement, parameters=[["sad", None], [1, 2]]) == [["{sad,NULL}", True]]
    failed = await desk.execute("SELECT nothing_here = ANY($1)", parameters=[[1]])
    assert failed["error"]["sqlstate"] == "42703"
    assert (await desk.execute("SELECT 1"))["error"]["hint"].startswith("Roll back")


async def test_session_keeps_the_reason_for_which_the_server_ended_it(
    desk: SessionDesk,
) -> None:
    ended = await desk.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert ended["error"]["sqlstate"] == "57P01"
    assert "outcome is unknown" in ended["error"]["hint"]
    assert (await desk.now())["closeReason"] == "LOST"
