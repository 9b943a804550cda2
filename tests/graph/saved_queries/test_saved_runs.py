"""`executeQuery` executes a saved query with values by position, by name and from defaults."""

from typing import Any
from uuid import UUID

import pytest

from db.errors import Conflict
from db.kit.base import OwnerId, new_id
from db.postgres.sessions import Session
from db.runs import NewRun, RunQueue
from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token, make_connection_to, make_saved_query
from tests.fixtures.runs import RunServer
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  replayed run { id state statement parameters readOnly error { message }
    connection { id } session { id } savedQuery { id name } rows(first: 3) { rows } } } }"""
DELETE = "mutation($id: ID!) { deleteSavedQuery(input: {id: $id}) { deletedSavedQueryId } }"
SAVE = "mutation($input: SaveQueryInput!) { saveQuery(input: $input) { savedQuery { version } } }"
TEXT = "SELECT $1::int8 + $2::int8 AS sum"
PARAMETERS = [{"name": "a"}, {"name": "b", "default": 10}]


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


@pytest.fixture
async def saved(ada: Client, connection: str) -> str:
    return await make_saved_query(
        ada, name="Sum", text=TEXT, parameters=PARAMETERS, connectionId=connection
    )


async def execute(client: Client, saved: str, **values: Any) -> Any:
    values = {"savedQueryId": saved, "waitMs": 30_000} | values
    return (await client.ask(EXECUTE, input=values))["executeQuery"]


async def test_saved_query_is_executed_with_its_values(
    ada: Client, connection: str, saved: str
) -> None:
    run = (await execute(ada, saved, namedParameters={"a": 1}))["run"]
    assert run["savedQuery"] == {"id": saved, "name": "Sum"}
    assert (run["statement"], run["parameters"]) == (TEXT, [1, 10])
    assert (run["connection"], run["rows"]["rows"]) == ({"id": connection}, [["11"]])
    by_position = (await execute(ada, saved, parameters=[1, 2]))["run"]
    assert by_position["rows"]["rows"] == [["3"]]

    edited = (await execute(ada, saved, statement="SELECT $1 || $2", parameters=["x", "y"]))["run"]
    assert (edited["rows"]["rows"], edited["savedQuery"]["id"]) == ([["xy"]], saved)

    session = await open_session(ada, connection)
    await session.do("SET TRANSACTION READ ONLY")
    within = (await execute(ada, saved, sessionId=session.id, namedParameters={"a": 5}))["run"]
    assert (within["session"], within["rows"]["rows"]) == ({"id": session.id}, [["15"]])
    await session.close()

    await ada.ask(DELETE, id=saved)
    found = await ada.ask(
        "query($id: ID!) { queryRun(id: $id) { savedQuery { id } } }", id=run["id"]
    )
    assert found == {"queryRun": {"savedQuery": None}}


async def test_repeated_call_of_saved_query_returns_its_run_after_a_change(
    ada: Client, connection: str, saved: str
) -> None:
    first = await execute(ada, saved, parameters=[1], idempotencyKey="k")
    await ada.ask(SAVE, input={"id": saved, "text": "SELECT 1", "parameters": None})
    again = await execute(ada, saved, parameters=[1], idempotencyKey="k")
    assert (again["replayed"], again["run"]["id"]) == (True, first["run"]["id"])
    for other in ({"parameters": [2]}, {"connectionId": connection, "parameters": [1]}):
        refused = await ada.send(
            EXECUTE, input={"savedQueryId": saved, "idempotencyKey": "k"} | other
        )
        assert refused.code == "CONFLICT"
    await ada.ask(DELETE, id=saved)
    last = await execute(ada, saved, parameters=[1], idempotencyKey="k")
    assert (last["replayed"], last["run"]["id"]) == (True, first["run"]["id"])


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"namedParameters": {"b": 1}}, "namedParameters"),
        ({"namedParameters": {"a": 1, "c": 1}}, "namedParameters"),
        ({"namedParameters": [1]}, "namedParameters"),
        ({"namedParameters": {"a\0b": 1}, "idempotencyKey": "k"}, "parameters"),
        ({"namedParameters": {"a": 1}, "parameters": [1]}, "namedParameters"),
        ({"parameters": [1, 2, 3]}, "parameters"),
        ({"parameters": ["a\0b"], "idempotencyKey": "k"}, "parameters"),
        ({"savedQueryId": None, "statement": None}, "statement"),
        ({"savedQueryId": None, "statement": "SELECT 1", "namedParameters": {}}, "namedParameters"),
    ],
)
async def test_call_of_saved_query_that_does_not_fit_is_refused(
    ada: Client, connection: str, saved: str, values: dict[str, Any], field: str
) -> None:
    asked = {"connectionId": connection, "savedQueryId": saved} | values
    refused = await ada.send(EXECUTE, input=asked)
    assert (refused.code, refused.errors[0]["extensions"]["field"]) == ("BAD_USER_INPUT", field)


async def test_saved_query_without_a_connection_needs_one(ada: Client, connection: str) -> None:
    saved = await make_saved_query(ada, text="SELECT 7")
    refused = await ada.send(EXECUTE, input={"savedQueryId": saved})
    assert refused.errors[0]["extensions"]["field"] == "connectionId"
    run = (await execute(ada, saved, connectionId=connection))["run"]
    assert run["rows"]["rows"] == [[7]]


async def test_token_that_may_only_read_executes_saved_query_read_only(
    ada: Client, saved: str
) -> None:
    made = await create_access_token(ada, "WORKBENCH_READ", "WORKBENCH_READ_ONLY")
    program = ada.with_token(made["token"])
    assert (await execute(program, saved, parameters=[1]))["run"]["readOnly"]
    assert (await program.send(DELETE, id=saved)).code == "FORBIDDEN"


async def test_run_of_saved_query_that_is_deleted_meanwhile_is_refused(
    ada: Client, run_server: RunServer, connection: str
) -> None:
    assert ada.user is not None
    owner, connection_id = OwnerId(ada.user.id), UUID(connection.partition("_")[2])
    new = NewRun(connection_id, "SELECT 1", "[]", True, 1, 1, 1, saved_query_id=new_id())
    values: dict[str, Any] = {"process": 1, "has_slot": False, "backend": None}

    async def accept(session: Session) -> None:
        queue = RunQueue(session, owner)
        await queue.accept(await queue.lock(), new_id(), new, max_running=1, max_active=9, **values)

    with pytest.raises(Conflict, match="deleted meanwhile"):
        await run_server.database.transaction(accept)
