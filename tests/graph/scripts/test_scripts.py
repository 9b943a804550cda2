"""Scripts in the API: execute, follow, stop, continue, one transaction, sessions, cancel."""

import asyncio

import pytest

from db.workbench.scripts import script_failures
from db.workbench.sql.statement_kind import statement_kind
from graph.runs import script_fields
from tests.fixtures.audit import events_of
from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token, make_connection, make_connection_to
from tests.fixtures.patience import patience
from tests.fixtures.script_desk import EXECUTE, READ, STATUS, ScriptDesk
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import Target, speaking

SESSION = "subscription($id: ID!) { sessionChanged(id: $id) { state } }"


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


@pytest.fixture
async def desk(ada: Client, connection: str) -> ScriptDesk:
    found = ScriptDesk(ada, connection)
    await found.run("DROP TABLE IF EXISTS noted; CREATE TABLE noted (id int PRIMARY KEY)")
    return found


async def test_script_executes_each_statement_as_a_run(desk: ScriptDesk) -> None:
    text = "SELECT 1 AS one;\n  INSERT INTO noted VALUES (1), (2); -- two\nTABLE noted"
    script = await desk.run(text)
    assert (script["state"], script["error"]) == ("SUCCEEDED", None)
    counts = (script["statementCount"], script["succeededCount"], script["failedCount"])
    assert (counts, script["currentIndex"]) == ((3, 3, 0), 2)
    async with desk.client.follow(SESSION, id=script["session"]["id"]) as received:
        states = [one.data["sessionChanged"]["state"] async for one in received]
    assert states[-1] == "CLOSED"
    runs = await desk.runs(script)
    assert [run["statement"] for run in runs] == [
        "SELECT 1 AS one",
        "INSERT INTO noted VALUES (1), (2)",
        "TABLE noted",
    ]
    assert [run["rows"] and run["rows"]["rows"] for run in runs][2] == [[1], [2]]
    assert [run["rowsAffected"] for run in runs] == [None, 2, None]
    assert {run["scriptRun"]["id"] for run in runs} == {script["id"]}
    assert runs[1]["statementRange"] == {
        "index": 1,
        "start": 19,
        "end": 52,
        "line": 2,
        "column": 3,
        "kind": "INSERT",
    }


async def test_command_of_each_statement_is_named_once_for_an_operation(
    desk: ScriptDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = await desk.run("SELECT 1; TABLE noted; SELECT x")
    named: list[str] = []

    def count_and_name(statement: str) -> str:
        named.append(statement)
        return statement_kind(statement)

    monkeypatch.setattr(script_fields, "statement_kind", count_and_name)
    text = """query($id: ID!) { scriptRun(id: $id) { runs(first: 9) { nodes {
      a: statementRange { kind } b: statementRange { kind end } error { line } } } } }"""
    nodes = (await desk.client.ask(text, id=script["id"]))["scriptRun"]["runs"]["nodes"]
    assert [node["b"]["kind"] for node in nodes] == ["SELECT", "TABLE", "SELECT"]
    assert sorted(named) == ["SELECT 1", "SELECT x", "TABLE noted"]


async def test_text_of_a_script_that_an_operation_repeats_is_limited(desk: ScriptDesk) -> None:
    """A response of 80 MB from one script."""
    script = await desk.run(f"SELECT 1 -- {'-' * 80_000}")
    text = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on ScriptRun { script } } }"
    assert (await desk.client.send(text, ids=[script["id"]] * 1_000)).code == "TOO_LARGE"
    assert (await desk.client.send(text, ids=[script["id"]] * 2)).code == "OK"


async def test_texts_of_mutations_and_events_are_limited(desk: ScriptDesk) -> None:
    """Each would have 80 MB."""
    script = await desk.run("SELECT 1; SELECT 2; SELECT 3; SELECT 4 -- " + "-" * 400_000)
    texts = " ".join(f"a{number}: script" for number in range(50))
    repeated = f"runs(first: 4) {{ nodes {{ scriptRun {{ {texts} }} }} }}"
    status = f"subscription($id: ID!) {{ scriptStatus(id: $id) {{ {repeated} }} }}"
    async with desk.client.follow(status, id=script["id"]) as received:
        assert [event.code async for event in received] == ["TOO_LARGE"]
    cancel = f"""mutation($id: ID!) {{ cancelScript(input: {{id: $id}}) {{
      scriptRun {{ {repeated} }} }} }}"""
    answer = await desk.client.send(cancel, id=script["id"])
    assert answer.code == "TOO_LARGE"
    assert "What it has changed remains" in answer.errors[0]["extensions"]["hint"]


async def test_script_whose_notices_are_too_large_stops(
    desk: ScriptDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their size counts to the quota of texts only when they are stored."""
    monkeypatch.setattr(script_failures, "MAX_MESSAGE_CHARS", 20_000)
    raising = "DO $$ BEGIN RAISE NOTICE '%', repeat('x', 9000); END $$;\n"
    for transaction in ("EACH", "SINGLE"):
        text = "INSERT INTO noted VALUES (1);\n" + raising * 10
        script = await desk.run(text, transaction=transaction, onError="CONTINUE")
        assert (script["state"], script["succeededCount"]) == ("FAILED", 4)
        assert "more than" in script["error"]["message"]
        await desk.run("DELETE FROM noted")
    script = await desk.run(raising * 2)
    assert script["state"] == "SUCCEEDED"


async def test_script_stops_at_error_and_tells_position_in_the_script(desk: ScriptDesk) -> None:
    text = "INSERT INTO noted VALUES (1);\n\n SELECT 1,\n   nope;\nINSERT INTO noted VALUES (2)"
    script = await desk.run(text)
    assert (script["state"], script["currentIndex"]) == ("FAILED", 1)
    assert (script["succeededCount"], script["failedCount"]) == (1, 1)
    error = script["error"]
    assert error["sqlstate"] == "42703"
    assert (error["position"], error["line"], error["column"]) == (14, 2, 4)
    assert text[error["scriptPosition"] - 1 :].startswith("nope")
    assert (error["scriptLine"], error["scriptColumn"]) == (4, 4)
    runs = await desk.runs(script)
    assert runs[1]["error"] == error
    assert await desk.rows("TABLE noted") == [[1]]


async def test_runs_of_a_script_are_paged_in_their_order(desk: ScriptDesk) -> None:
    script = await desk.run("SELECT 0; SELECT 1; SELECT 2")
    found, after = [], None
    for _ in range(3):
        asked = await desk.client.ask(
            """query($id: ID!, $after: String) { scriptRun(id: $id) {
              runs(first: 1, after: $after) {
                nodes { scriptIndex } pageInfo { endCursor hasNextPage } } } }""",
            id=script["id"],
            after=after,
        )
        page = asked["scriptRun"]["runs"]
        found += [node["scriptIndex"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert (found, page["pageInfo"]["hasNextPage"]) == ([0, 1, 2], False)


async def test_parameter_in_script_is_refused_with_its_remedy(desk: ScriptDesk) -> None:
    error = (await desk.run("SELECT $1"))["error"]
    assert error["sqlstate"] == "08P01"
    assert "A script has no parameters" in error["hint"]


async def test_script_continues_after_error(desk: ScriptDesk) -> None:
    text = "INSERT INTO noted VALUES (1); SELECT nope; INSERT INTO noted VALUES (2)"
    script = await desk.run(text, onError="CONTINUE")
    assert (script["state"], script["error"]) == ("SUCCEEDED", None)
    assert (script["succeededCount"], script["failedCount"]) == (2, 1)
    runs = await desk.runs(script)
    assert runs[1]["error"]["scriptColumn"] == text.index("nope") + 1
    assert await desk.rows("TABLE noted") == [[1], [2]]


async def test_single_transaction_keeps_nothing_after_error(desk: ScriptDesk) -> None:
    text = "INSERT INTO noted VALUES (1); SELECT nope; INSERT INTO noted VALUES (2)"
    script = await desk.run(text, transaction="SINGLE")
    assert (script["state"], script["succeededCount"]) == ("FAILED", 1)
    assert await desk.rows("TABLE noted") == []
    script = await desk.run("INSERT INTO noted VALUES (1); TABLE noted", transaction="SINGLE")
    assert (script["state"], script["succeededCount"]) == ("SUCCEEDED", 2)
    assert await desk.rows("TABLE noted") == [[1]]


async def test_single_transaction_skips_failed_statements(desk: ScriptDesk) -> None:
    text = (
        "INSERT INTO noted VALUES (1); INSERT INTO noted VALUES (1); SELECT pg_current_xact_id();"
        "INSERT INTO noted VALUES (2); SELECT pg_current_xact_id(); SELECT nope"
    )
    script = await desk.run(text, transaction="SINGLE", onError="CONTINUE")
    assert (script["state"], script["succeededCount"], script["failedCount"]) == ("SUCCEEDED", 4, 2)
    runs = await desk.runs(script)
    assert runs[2]["rows"] == runs[4]["rows"]
    assert await desk.rows("TABLE noted") == [[1], [2]]


async def test_single_transaction_fails_with_its_commit(desk: ScriptDesk) -> None:
    text = """CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO deferred VALUES (1), (1)"""
    script = await desk.run(text, transaction="SINGLE")
    assert (script["state"], script["succeededCount"]) == ("FAILED", 2)
    assert (script["error"]["sqlstate"], script["error"]["scriptPosition"]) == ("23505", None)
    assert len(await desk.runs(script)) == 2


async def test_script_that_controls_transactions_is_refused_as_a_single_one(
    ada: Client, connection: str
) -> None:
    values = {"connectionId": connection, "transaction": "SINGLE"}
    answer = await ada.send(EXECUTE, input=values | {"script": "SELECT 1;\n\nrollback to a"})
    assert answer.code == "BAD_USER_INPUT"
    assert answer.message == "Line 3 has `ROLLBACK TO`, but the script is one transaction."


@pytest.mark.parametrize(
    "script", ["SELECT 1;\n\\dt", " -- nothing\n;;", "COPY t FROM stdin; SELECT\n1"]
)
async def test_script_that_cannot_be_split_is_refused_whole(
    ada: Client, connection: str, script: str
) -> None:
    answer = await ada.send(EXECUTE, input={"connectionId": connection, "script": script})
    assert answer.code == "BAD_USER_INPUT"
    listed = await ada.ask("{ queryRuns(first: 1) { totalCount } }")
    assert listed["queryRuns"]["totalCount"] == 0


async def test_script_in_session_shares_its_transaction(
    ada: Client, connection: str, desk: ScriptDesk
) -> None:
    session = await open_session(ada, connection)
    await session.do("CREATE TEMPORARY TABLE mine (id int)")
    script = await desk.run("BEGIN; INSERT INTO mine VALUES (1)", sessionId=session.id)
    assert (script["state"], script["session"]["id"]) == ("SUCCEEDED", session.id)
    assert await session.state() == "IN_TRANSACTION"
    refused = await desk.run("SELECT 1", sessionId=session.id, transaction="SINGLE")
    assert (refused["state"], refused["succeededCount"]) == ("FAILED", 0)
    assert "open transaction" in refused["error"]["message"]
    await session.roll_back()
    assert await session.rows("TABLE mine") == []
    again = await desk.run(
        "INSERT INTO mine VALUES (2)", sessionId=session.id, transaction="SINGLE"
    )
    assert again["state"] == "SUCCEEDED"
    assert (await session.state(), await session.rows("TABLE mine")) == ("IDLE", [[2]])


async def test_read_only_script_changes_nothing(desk: ScriptDesk) -> None:
    for transaction in ("EACH", "SINGLE"):
        text = "SELECT 1; INSERT INTO noted VALUES (1)"
        script = await desk.run(text, readOnly=True, transaction=transaction)
        assert (script["state"], script["error"]["sqlstate"]) == ("FAILED", "25006")
        reading = await desk.run("SELECT 1; SELECT 2", readOnly=True, transaction=transaction)
        assert reading["state"] == "SUCCEEDED"
    assert await desk.rows("TABLE noted") == []


async def test_cancel_script_ends_its_statement_and_begins_no_other(desk: ScriptDesk) -> None:
    for transaction in ("EACH", "SINGLE"):
        text = "INSERT INTO noted VALUES (1); SELECT pg_sleep(60); INSERT INTO noted VALUES (2)"
        started = await desk.start(text, transaction=transaction)
        async with desk.client.follow(STATUS, id=started["id"]) as received:
            async for one in received:
                if one.data["scriptStatus"]["currentIndex"] == 1:
                    break
            cancelled = await desk.cancel(started)
        assert (cancelled["state"], cancelled["error"]) == ("CANCELLED", None)
        runs = await desk.runs(started)
        assert [run["state"] for run in runs] == ["SUCCEEDED", "CANCELLED"]
        kept = [[1]] if transaction == "EACH" else []
        assert await desk.rows("TABLE noted") == kept
        await desk.run("TRUNCATE noted")
        assert (await desk.cancel(started))["state"] == "CANCELLED"


async def test_cancelled_statement_counts_as_failed(ada: Client, desk: ScriptDesk) -> None:
    started = await desk.start("SELECT pg_sleep(60); SELECT 2", onError="CONTINUE")
    async with ada.follow(STATUS, id=started["id"]) as received:
        async for one in received:
            if one.data["scriptStatus"]["state"] == "RUNNING":
                break
        (run,) = await desk.runs(started)
        await ada.ask(
            "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }", id=run["id"]
        )
        last = [one.data["scriptStatus"] async for one in received][-1]
    assert (last["state"], last["succeededCount"], last["failedCount"]) == ("SUCCEEDED", 1, 1)


async def test_execute_script_again_with_its_key_starts_nothing(
    ada: Client, connection: str, desk: ScriptDesk
) -> None:
    values = {"connectionId": connection, "script": "INSERT INTO noted VALUES (1)"}
    values |= {"idempotencyKey": "once"}
    first = (await ada.ask(EXECUTE, input=values))["executeScript"]
    await desk.end_of(first["scriptRun"])
    again = (await ada.ask(EXECUTE, input=values))["executeScript"]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["scriptRun"]["id"] == first["scriptRun"]["id"]
    other = await ada.send(EXECUTE, input=values | {"script": "SELECT 1"})
    assert other.code == "CONFLICT"


async def test_script_is_returned_to_no_second_call_before_it_has_a_session(ada: Client) -> None:
    """The first call deletes it if it can open none: a history of three replicas found it."""
    reached, end = asyncio.Event(), asyncio.Event()

    async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.set()
        await end.wait()

    async with speaking(hang_up) as port, patience():
        connection = await make_connection(ada, port=port, sslMode="DISABLE")
        values = {"connectionId": connection, "script": "SELECT 1", "idempotencyKey": "twice"}
        first = asyncio.create_task(ada.send(EXECUTE, input=values))
        await reached.wait()
        second = asyncio.create_task(ada.send(EXECUTE, input=values))
        await asyncio.wait([second], timeout=0.3)  # long enough to be told of the script
        end.set()
        assert (await first).code == (await second).code == "UNAVAILABLE"


async def test_script_of_another_user_is_not_visible(
    ada: Client, bob: Client, desk: ScriptDesk
) -> None:
    script = await desk.run("SELECT 1")
    assert (await ada.ask(READ, id=script["id"]))["scriptRun"]["script"] == "SELECT 1"
    assert (await bob.ask(READ, id=script["id"]))["scriptRun"] is None
    answer = await bob.send(
        "mutation($id: ID!) { cancelScript(input: {id: $id}) { scriptRun { id } } }",
        id=script["id"],
    )
    assert answer.code == "FORBIDDEN"


async def test_copy_takes_the_lines_after_it_as_data(desk: ScriptDesk) -> None:
    text = "COPY noted FROM stdin;\n1\n2\n\\.\nCOPY noted FROM stdin (FORMAT csv);\n3\n\\.\nTABLE "
    text += "noted"
    for transaction in ("EACH", "SINGLE"):
        script = await desk.run(text, transaction=transaction)
        assert (script["state"], script["error"]) == ("SUCCEEDED", None)
        runs = await desk.runs(script)
        assert [run["rowsAffected"] for run in runs] == [2, 1, None]
        assert runs[2]["rows"]["rows"] == [[1], [2], [3]]
        await desk.run("TRUNCATE noted")


async def test_data_of_a_failed_copy_is_not_executed(desk: ScriptDesk) -> None:
    text = "COPY missing FROM stdin;\nINSERT INTO noted VALUES (1);\n\\.\n"
    text += "INSERT INTO noted VALUES (2);"
    script = await desk.run(text, onError="CONTINUE")
    assert (script["state"], script["succeededCount"], script["failedCount"]) == ("SUCCEEDED", 1, 1)
    assert await desk.rows("TABLE noted") == [[2]]


async def test_statements_of_script_are_acts_of_its_sender(admin: Client, target: Target) -> None:
    desk = ScriptDesk(admin, await make_connection_to(admin, target))
    started = await desk.start("SELECT 'first'; SELECT 'second'", transaction="SINGLE")
    await desk.end_of(started)
    runs = {run["id"] for run in await desk.runs(started)}
    events = await events_of(admin, kinds=["QUERY_RUN"])
    mine = [event for event in events if event["subjectId"] in runs]
    assert {event["details"]["statement"] for event in mine} == {
        "SELECT 'first'",
        "SELECT 'second'",
    }
    assert admin.user is not None
    assert {event["actorId"] for event in events} == {f"user_{admin.user.id.hex}"}
    assert len({event["requestId"] for event in events}) == 1  # of the request that sent it
    assert "COMMIT" in {event["details"]["statement"] for event in events}
    session = (await admin.ask(READ, id=started["id"]))["scriptRun"]["session"]
    async with admin.follow(SESSION, id=session["id"]) as received:
        assert [one.data["sessionChanged"]["state"] async for one in received][-1] == "CLOSED"
    kinds = ["DATABASE_SESSION_OPENED", "DATABASE_SESSION_CLOSED"]
    assert [event["kind"] for event in await events_of(admin, kinds=kinds)] == kinds


async def test_read_only_token_executes_read_only_scripts(
    ada: Client, connection: str, desk: ScriptDesk
) -> None:
    token = (await create_access_token(ada, "WORKBENCH_READ", "WORKBENCH_READ_ONLY"))["token"]
    reader = ScriptDesk(ada.with_token(token), connection)
    script = await reader.run("SELECT 1; INSERT INTO noted VALUES (1)")
    assert (script["state"], script["error"]["sqlstate"]) == ("FAILED", "25006")
    session = await open_session(ada, connection)
    values = {"sessionId": session.id, "script": "SELECT 1"}
    assert (await reader.client.send(EXECUTE, input=values)).code == "FORBIDDEN"
