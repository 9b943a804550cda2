"""Runs in the API: execute, follow, page, download, cancel, and the history."""

import json
from typing import Any

import pytest

from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import make_connection_to
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  replayed run { id state revision rowCount command rowsAffected
    columns { name type typeOid } error { message sqlstate hint position line column }
    truncated { reason limit } notices { severity message } connection { name }
    rows(first: 3) { offset hasMore rows } } } }"""
CANCEL = """mutation($id: ID!) { cancelQuery(input: {id: $id}) {
  outcome latencyMs connectionUsable run { state error { message } } } }"""
STATUS = "subscription($id: ID!) { queryStatus(id: $id) { state revision rowCount } }"


async def test_active_queries_are_read_once_for_an_operation(
    ada: Client, statements: Statements
) -> None:
    aliases = " ".join(f"a{number}: activeQueries {{ statement }}" for number in range(50))
    await ada.ask("{ activeQueries { id } }")  # also verifies the token
    with statements.expected(1):
        answer = await ada.ask(f"{{ {aliases} }}")
    assert list(answer.values()) == [[]] * 50


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


async def execute(client: Client, connection: str, statement: str, **more: Any) -> Any:
    values = {"connectionId": connection, "statement": statement, "waitMs": 20_000} | more
    return (await client.ask(EXECUTE, input=values))["executeQuery"]


async def test_execute_query_returns_rows(ada: Client, connection: str) -> None:
    answer = await execute(
        ada, connection, "SELECT i, $1::int8 AS big FROM generate_series(1, 5) i", parameters=["9"]
    )
    run = answer["run"]
    assert (run["state"], run["rowCount"], run["error"]) == ("SUCCEEDED", 5, None)
    assert run["rows"] == {"offset": 0, "hasMore": True, "rows": [[1, "9"], [2, "9"], [3, "9"]]}
    assert run["connection"] == {"name": "Orders"}


@pytest.mark.parametrize(
    ("letters", "as_ascii", "status"),
    [(490_000, False, 200), (160_000, True, 200), (170_000, True, 413)],
)
async def test_documented_length_of_a_statement_fits_into_a_request(
    ada: Client, connection: str, letters: int, status: int, *, as_ascii: bool
) -> None:
    statement = f"SELECT length('{'é' * letters}')"
    values = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
    body = json.dumps({"query": EXECUTE, "variables": {"input": values}}, ensure_ascii=as_ascii)
    headers = {"content-type": "application/json", **ada.headers}
    response = await ada.http.post("/graphql", content=body.encode(), headers=headers)
    assert response.status_code == status
    if status == 413:
        assert "as UTF-8" in response.json()["errors"][0]["extensions"]["hint"]
    else:
        assert response.json()["data"]["executeQuery"]["run"]["rows"]["rows"] == [[letters]]


async def test_query_status_follows_run_to_its_end(ada: Client, connection: str) -> None:
    run = (await execute(ada, connection, "SELECT pg_sleep(0.5)", waitMs=0))["run"]
    assert run["state"] in {"QUEUED", "RUNNING"}
    async with ada.follow(STATUS, id=run["id"]) as received:
        seen = [one.data["queryStatus"] async for one in received]
    assert seen[-1]["state"] == "SUCCEEDED"
    assert [one["revision"] for one in seen] == sorted({one["revision"] for one in seen})


async def test_cancel_query_ends_followed_run(ada: Client, connection: str) -> None:
    run = (await execute(ada, connection, "SELECT pg_sleep(60)", waitMs=0))["run"]
    async with ada.follow(STATUS, id=run["id"]) as received:
        await anext(received)
        verdict = (await ada.ask(CANCEL, id=run["id"]))["cancelQuery"]
        last = [one.data["queryStatus"]["state"] async for one in received][-1]
        again = (await ada.ask(CANCEL, id=run["id"]))["cancelQuery"]
    assert (verdict["outcome"], verdict["connectionUsable"], last) == (
        "CANCELLED",
        True,
        "CANCELLED",
    )
    assert again["outcome"] == "ALREADY_FINISHED"
    assert again["run"] == {"state": "CANCELLED", "error": None}


async def test_query_status_of_finished_run_completes_at_once(ada: Client, connection: str) -> None:
    run = (await execute(ada, connection, "SELECT 1"))["run"]
    async with ada.follow(STATUS, id=run["id"]) as received:
        assert [one.data["queryStatus"]["state"] async for one in received] == ["SUCCEEDED"]


async def test_query_runs_are_filtered_and_paged(ada: Client, bob: Client, connection: str) -> None:
    for statement in ("SELECT 'Needle'", "SELECT nonsense", "SELECT 2"):
        await execute(ada, connection, statement)
    query = """query($search: String, $states: [RunState!], $connectionId: ID) {
      queryRuns(first: 10, search: $search, states: $states, connectionId: $connectionId)
      { totalCount nodes { statement } } }"""

    async def found(client: Client, **which: Any) -> list[str]:
        answer = (await client.ask(query, **which))["queryRuns"]
        assert answer["totalCount"] == len(answer["nodes"])
        return [one["statement"] for one in answer["nodes"]]

    assert await found(ada) == ["SELECT 2", "SELECT nonsense", "SELECT 'Needle'"]
    assert await found(ada, search="needle") == ["SELECT 'Needle'"]
    assert await found(ada, states=["FAILED"]) == ["SELECT nonsense"]
    assert len(await found(ada, connectionId=connection)) == 3
    assert await found(bob) == []


async def test_execute_query_is_idempotent(ada: Client, connection: str) -> None:
    first = await execute(ada, connection, "SELECT 1", idempotencyKey="once")
    again = await execute(ada, connection, "SELECT 1", idempotencyKey="once")
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["run"] == again["run"]
    values = {"connectionId": connection, "statement": "SELECT 2", "idempotencyKey": "once"}
    assert (await ada.send(EXECUTE, input=values)).code == "CONFLICT"


async def test_delete_query_run_removes_it(ada: Client, connection: str) -> None:
    run = (await execute(ada, connection, "SELECT 1"))["run"]
    delete = "mutation($id: ID!) { deleteQueryRun(input: {id: $id}) { deletedQueryRunId } }"
    assert await ada.ask(delete, id=run["id"]) == {
        "deleteQueryRun": {"deletedQueryRunId": run["id"]}
    }
    assert (await ada.send(delete, id=run["id"])).code == "NOT_FOUND"


async def test_active_queries_changed_sends_changes(ada: Client, connection: str) -> None:
    watch = "subscription { activeQueriesChanged { id state } }"
    async with ada.follow(watch) as received:
        assert (await anext(received)).data == {"activeQueriesChanged": []}
        run = (await execute(ada, connection, "SELECT pg_sleep(60)", waitMs=0))["run"]
        active = (await anext(received)).data["activeQueriesChanged"]
        assert [one["id"] for one in active] == [run["id"]]
        now = await ada.ask("{ activeQueries { id } }")
        assert now == {"activeQueries": [{"id": run["id"]}]}
        await ada.ask(CANCEL, id=run["id"])
        while active:
            active = (await anext(received)).data["activeQueriesChanged"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"statement": ""},
        {"statement": "SELECT '\0'"},
        {"waitMs": 30_001},
        {"timeoutMs": 0},
        {"maxRows": -1},
        {"parameters": ["\0"]},
    ],
    ids=json.dumps,
)
async def test_execute_query_input_is_validated(
    ada: Client, connection: str, wrong: dict[str, Any]
) -> None:
    values = {"connectionId": connection, "statement": "SELECT 1"} | wrong
    assert (await ada.send(EXECUTE, input=values)).code == "BAD_USER_INPUT"


async def test_rows_page_is_limited_by_bytes(ada: Client, connection: str) -> None:
    statement = "SELECT repeat('x', 3000000) FROM generate_series(1, 12)"
    run = (await execute(ada, connection, statement, maxBytes=64_000_000))["run"]
    rows = "rows(first: 12, offset: $at) { rows hasMore }"
    read = f"query($id: ID!, $at: Int!) {{ queryRun(id: $id) {{ {rows} }} }}"
    for at, count, has_more in ((0, 2, True), (2, 2, True), (11, 1, False)):
        page = (await ada.ask(read, id=run["id"], at=at))["queryRun"]["rows"]
        assert (len(page["rows"]), page["hasMore"]) == (count, has_more)
    many = " ".join(f"a{number}: {rows}" for number in range(8))
    answer = await ada.send(
        f"query($id: ID!, $at: Int!) {{ queryRun(id: $id) {{ {many} }} }}", id=run["id"], at=0
    )
    assert (answer.code, answer.errors[0]["extensions"]["field"]) == ("TOO_LARGE", "first")


async def test_parameters_are_passed_or_refused(ada: Client, connection: str) -> None:
    texts = ["a\\u0000b", "[^\\u0000-\\u007f]"]
    run = (await execute(ada, connection, "SELECT $1::text, $2::text", parameters=texts))["run"]
    assert run["rows"]["rows"] == [texts]
    execute_literal = """mutation($id: ID!) { executeQuery(input: {
      connectionId: $id, statement: "SELECT $1::text", parameters: [1e400]}) { run { id } } }"""
    answer = await ada.send(execute_literal, id=connection)
    assert (answer.code, answer.errors[0]["extensions"]["field"]) == (
        "BAD_USER_INPUT",
        "parameters",
    )


async def test_execute_query_reports_missing_connection(
    ada: Client, bob: Client, connection: str
) -> None:
    for connection_id, code in ((f"conn_{0:032x}", "NOT_FOUND"), (connection, "FORBIDDEN")):
        values = {"connectionId": connection_id, "statement": "SELECT 1"}
        answer = await bob.send(EXECUTE, input=values)
        assert (answer.code, answer.errors[0]["extensions"]["field"]) == (code, "connectionId")


async def test_read_only_run_is_rolled_back(ada: Client, connection: str) -> None:
    asked = "SELECT pg_current_xact_id()::text"
    run = (await execute(ada, connection, asked, readOnly=True))["run"]
    ((number,),) = run["rows"]["rows"]
    status = (await execute(ada, connection, f"SELECT pg_xact_status('{number}')"))["run"]
    assert status["rows"]["rows"] == [["aborted"]]


async def test_messages_of_an_error_that_an_operation_repeats_are_limited(
    ada: Client, connection: str
) -> None:
    """A response of 90 MB from one run."""
    failing = "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 9000); END $$"
    run = (await execute(ada, connection, failing))["run"]
    messages = " ".join(f"m{number}: message" for number in range(10))
    of_run = f"... on QueryRun {{ error {{ {messages} }} }}"
    text = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ {of_run} }} }}"
    assert (await ada.send(text, ids=[run["id"]] * 1_000)).code == "TOO_LARGE"
    assert (await ada.send(text, ids=[run["id"]])).code == "OK"
