"""What remains of sessions: audit events, usage, and their removal; and suspended users."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from db.database_sessions import DatabaseSessions, delete_closed_sessions
from db.kit.base import OwnerId
from db.services import Services
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection, make_connection_to
from tests.fixtures.session_desk import OPEN, open_session
from tests.fixtures.targets import Target
from tests.fixtures.workbench import until

EVENTS = """{ auditEvents(first: 20, filter: {kinds: [DATABASE_SESSION_OPENED,
  DATABASE_SESSION_CLOSED]}) { nodes {
  kind outcome subjectId subjectName actorId requestId details } } }"""


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


async def events(client: Client) -> list[Any]:
    found: list[Any] = (await client.ask(EVENTS))["auditEvents"]["nodes"]
    return found[::-1]


async def test_opening_and_closing_are_in_the_audit_log(ada: Client, connection: str) -> None:
    desk = await open_session(ada, connection, name="books", readOnly=True)
    await desk.close()
    opened, closed = await events(ada)
    assert (opened["kind"], opened["outcome"]) == ("DATABASE_SESSION_OPENED", "SUCCEEDED")
    assert ada.user is not None
    user = f"user_{ada.user.id.hex}"
    assert (opened["subjectName"], opened["actorId"]) == ("books", user)
    assert (opened["subjectId"], closed["subjectId"]) == (desk.id, desk.id)
    assert opened["details"]["readOnly"] is True
    assert (closed["kind"], closed["details"]["reason"]) == ("DATABASE_SESSION_CLOSED", "CLIENT")
    assert closed["actorId"] == user


async def test_failed_opening_is_in_the_audit_log(ada: Client) -> None:
    connection = await make_connection(ada)
    await ada.send(OPEN, input={"connectionId": connection})
    (failed,) = await events(ada)
    assert (failed["outcome"], failed["details"]["error"]) == ("FAILED", "UNAVAILABLE")


async def test_loss_is_in_the_audit_log_without_actor(
    ada: Client, connection: str, target: Target
) -> None:
    desk = await open_session(ada, connection)
    await desk.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await desk.until_closed() == "LOST"
    _, closed = await events(ada)
    assert (closed["details"]["reason"], closed["actorId"]) == ("LOST", None)
    assert closed["requestId"] is None


async def test_usage_counts_open_sessions(ada: Client, connection: str) -> None:
    query = "{ viewer { usage { openSessions { used limit } } } }"
    desk = await open_session(ada, connection)
    assert (await ada.ask(query))["viewer"]["usage"]["openSessions"] == {"used": "1", "limit": "10"}
    await desk.close()
    assert (await ada.ask(query))["viewer"]["usage"]["openSessions"]["used"] == "0"


async def test_closed_sessions_are_removed_and_their_runs_kept(
    ada: Client, connection: str, services: Services
) -> None:
    desk = await open_session(ada, connection)
    run = await desk.do("SELECT 1")
    kept = await open_session(ada, connection)
    await desk.close()
    removed = await services.database.write(
        lambda session: delete_closed_sessions(session, keep=timedelta(seconds=-60))
    )
    assert removed == 1
    assert await desk.now() is None
    found = await ada.ask(
        "query($id: ID!) { queryRun(id: $id) { state session { id } } }", id=run["id"]
    )
    assert found["queryRun"] == {"state": "SUCCEEDED", "session": None}
    assert await kept.state() == "IDLE"


async def test_suspended_user_loses_sessions(
    ada: Client, admin: Client, connection: str, target: Target, services: Services
) -> None:
    desk = await open_session(ada, connection)
    pid, row_id = (await desk.now())["backendPid"], UUID(hex=desk.id.partition("_")[2])
    assert ada.user is not None
    owner = OwnerId(ada.user.id)
    suspend = "mutation($id: ID!) { updateUser(input: {id: $id, suspended: true}) { user { id } } }"
    alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"  # noqa: S608

    async def is_gone() -> bool:
        return not await target.administer(alive)

    await admin.ask(suspend, id=f"user_{ada.user.id.hex}")
    await until(is_gone)

    async def is_closed_by_client() -> bool:
        async with services.database.read() as session:
            (row,) = await DatabaseSessions(session, owner).get_many([row_id])
        return row.close_reason == "CLIENT"

    await until(is_closed_by_client)
