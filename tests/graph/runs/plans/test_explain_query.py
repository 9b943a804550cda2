"""Plans in the API: of a connection and in a session, rolled back, refused, failed and stopped."""

import asyncio
import re
from typing import Any, NamedTuple

import pytest

from db.kit.base import OwnerId
from db.workbench.execution.reading import result_reader
from db.workbench.plans import explain
from db.workbench.plans.explain import ExplainRequest
from db.workbench.sql.explain_text import explain_statement
from graph.kit.ids import parse_id
from tests.fixtures.audit import events_of
from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token, make_connection, make_connection_to
from tests.fixtures.replicas import AddUser, Gate, OpenReplica, connect_to
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import CANARY, Target

EXPLAIN = """mutation($input: ExplainQueryInput!) { explainQuery(input: $input) {
  plan { planningMs executionMs text json
    nodes { id parentId nodeType relation schemaName index alias
    startupCost totalCost planRows actualRows loops selfMs selfShare filter details
    buffers { sharedHit sharedRead tempRead } } }
  error { message code sqlstate hint position line column }
  run { id state statement readOnly } } }"""
ACTIVE = "{ activeQueries { id statement } }"
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }"
STATE = "query($id: ID!) { queryRun(id: $id) { state } }"
EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { state error { message } rows(first: 10) { rows } } } }"""


class PlanDesk(NamedTuple):
    client: Client
    connection: str

    async def explain(self, statement: str, **more: Any) -> Any:
        values = {"connectionId": self.connection, "statement": statement} | more
        values = {name: value for name, value in values.items() if value is not None}
        return (await self.client.ask(EXPLAIN, input=values))["explainQuery"]

    async def plan(self, statement: str, **more: Any) -> Any:
        found = await self.explain(statement, **more)
        assert found["error"] is None, found
        assert found["run"]["state"] == "SUCCEEDED"
        return found["plan"]

    async def error(self, statement: str, **more: Any) -> Any:
        found = await self.explain(statement, **more)
        assert found["plan"] is None, found
        return found["error"]

    async def state(self, run_id: str) -> str:
        return str((await self.client.ask(STATE, id=run_id))["queryRun"]["state"])

    async def run(self, statement: str) -> Any:
        values = {"connectionId": self.connection, "statement": statement, "waitMs": 30_000}
        run = (await self.client.ask(EXECUTE, input=values))["executeQuery"]["run"]
        assert run["state"] == "SUCCEEDED", run
        return run["rows"] and run["rows"]["rows"]


@pytest.fixture
async def desk(ada: Client, target: Target) -> PlanDesk:
    found = PlanDesk(ada, await make_connection_to(ada, target))
    await found.run("DROP TABLE IF EXISTS planned")
    await found.run(
        "CREATE TABLE planned AS SELECT id, id % 7 AS part FROM generate_series(1, 700) id"
    )
    await found.run("ALTER TABLE planned ADD PRIMARY KEY (id)")
    await found.run("ANALYZE planned")
    return found


async def test_explain_shows_nodes_without_executing(desk: PlanDesk) -> None:
    plan = await desk.plan("DELETE FROM planned AS p WHERE part = 3 RETURNING id")
    root, scan = plan["nodes"]
    assert (root["nodeType"], root["parentId"], scan["parentId"]) == (
        "ModifyTable",
        None,
        root["id"],
    )
    assert [scan[key] for key in ("nodeType", "relation", "schemaName", "alias", "filter")] == [
        "Seq Scan",
        "planned",
        "public",
        "p",
        "(p.part = 3)",
    ]
    assert (scan["planRows"], scan["details"]["Plan Width"]) == (100, 6)
    measured = ("actualRows", "loops", "selfMs", "selfShare", "buffers")
    assert {scan[key] for key in measured} == {None}
    assert plan["planningMs"] > 0
    assert plan["executionMs"] is None
    assert plan["text"].splitlines()[0].startswith("Delete on public.planned p  (cost=0.00..")
    assert plan["json"][0]["Plan"]["Plans"][0]["Relation Name"] == "planned"
    found = await desk.plan("SELECT * FROM planned WHERE id = $1", parameters=[5])
    assert [node["index"] for node in found["nodes"]] == ["planned_pkey"]
    assert found["nodes"][0]["id"] != root["id"]


async def test_analyzed_change_is_rolled_back(desk: PlanDesk) -> None:
    plan = await desk.plan("DELETE FROM planned WHERE id <= $1", parameters=[10], analyze=True)
    root, scan = plan["nodes"]
    assert (scan["actualRows"], scan["loops"]) == (10, 1)
    assert scan["buffers"]["sharedHit"] > 0
    assert root["details"]["WAL Records"] == 10
    assert root["selfMs"] + scan["selfMs"] == pytest.approx(
        root["details"]["Actual Total Time"], abs=0.002
    )
    assert root["selfShare"] + scan["selfShare"] == pytest.approx(1, abs=1e-5)
    assert plan["executionMs"] > 0
    assert await desk.run("SELECT count(*)::int FROM planned") == [[700]]
    (event,) = [
        event
        for event in await events_of(desk.client, kinds=["QUERY_RUN"])
        if "DELETE FROM planned" in str(event)
    ]
    assert "rolled back" in str(event)


async def test_generic_plan_depends_on_no_values(
    desk: PlanDesk, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = "DELETE FROM planned WHERE part = $1 AND id > $2"
    if await target.version() < result_reader.GENERIC_PLAN_VERSION:
        assert "PostgreSQL 16" in (await desk.error(wanted, genericPlan=True))["message"]
        return
    session = await open_session(desk.client, desk.connection)
    for where in ({}, {"connectionId": None, "sessionId": session.id}):
        found = await desk.explain(wanted, genericPlan=True, **where)
        _, scan = found["plan"]["nodes"]
        assert (scan["relation"], scan["loops"]) == ("planned", None)
        assert {"$1", "$2"} <= set(re.findall(r"\$\d", found["plan"]["text"]))
        assert (await desk.error("SELECT $1 + nope FROM planned", genericPlan=True, **where))[
            "position"
        ] == 13
    assert await session.state() == "IDLE"
    assert (await desk.run(found["run"]["statement"]))[0][0].startswith("[")
    assert await desk.run("SELECT count(*)::int FROM planned") == [[700]]
    monkeypatch.setattr(result_reader, "GENERIC_PLAN_VERSION", 999_999)
    error = await desk.error(wanted, genericPlan=True)
    assert (error["sqlstate"], "parameters" in error["hint"]) == ("0A000", True)


async def test_generic_plan_excludes_values_and_execution(desk: PlanDesk) -> None:
    values = {"connectionId": desk.connection, "statement": "SELECT $1::int", "genericPlan": True}
    for more in ({"analyze": True}, {"parameters": [1]}):
        refused = await desk.client.send(EXPLAIN, input=values | more)
        assert refused.code == "BAD_USER_INPUT"
        assert refused.errors[0]["extensions"]["field"] == "genericPlan"


async def test_generic_plan_accepts_one_statement(desk: PlanDesk) -> None:
    """It is sent by the protocol that accepts several."""
    text = explain_statement("SELECT 1; DROP TABLE planned", generic=True)
    values = {"connectionId": desk.connection, "statement": text, "waitMs": 30_000}
    run = (await desk.client.ask(EXECUTE, input=values))["executeQuery"]["run"]
    assert (run["state"], run["error"]["message"]) == (
        "FAILED",
        "The text contains more than one statement.",
    )
    assert await desk.run("SELECT count(*)::int FROM planned") == [[700]]


async def test_explain_text_in_history_is_rolled_back_again(desk: PlanDesk) -> None:
    found = await desk.explain("TRUNCATE planned")
    assert found["run"] is None
    text = (await desk.explain("DELETE FROM planned", analyze=True))["run"]["statement"]
    await desk.run(text)
    assert await desk.run("SELECT count(*)::int FROM planned") == [[700]]


async def test_explain_in_session_leaves_its_transaction(desk: PlanDesk) -> None:
    for autocommit in (True, False):
        session = await open_session(desk.client, desk.connection, autocommit=autocommit)
        here = {"connectionId": None, "sessionId": session.id, "analyze": True}
        await desk.plan("DELETE FROM planned", **here)
        assert await session.state() == "IDLE"
        assert (await desk.error("SELECT nope FROM planned", **here))["position"] == 8
        assert await session.state() == "IDLE"
        await session.do("BEGIN")
        await session.do("CREATE TEMPORARY TABLE own (a int) ON COMMIT DROP")
        await session.do("INSERT INTO own VALUES (1)")
        plan = await desk.plan("UPDATE own SET a = a + 1 RETURNING a", **here)
        assert plan["nodes"][1]["relation"] == "own"
        assert (await desk.error("INSERT INTO own VALUES (1 / (a - a))", **here))["line"] == 1
        assert (await desk.error("SELECT 1 / (a - 1) FROM own", **here))["sqlstate"] == "22012"
        assert await session.state() == "IN_TRANSACTION"
        assert await session.rows("SELECT a FROM own") == [[1]]
        assert (await session.execute("SELECT 1 / 0"))["state"] == "FAILED"
        assert (await desk.error("SELECT 1", **here))["sqlstate"] == "25P02"
        assert await session.state() == "IN_FAILED_TRANSACTION"
        await session.roll_back()
        assert await session.rows("SELECT count(*)::int FROM planned") == [[700]]
        await session.close()


async def test_read_only_explain_executes_reads_only(desk: PlanDesk, target: Target) -> None:
    reader = PlanDesk(
        desk.client,
        await make_connection(
            desk.client,
            host="localhost",
            port=target.port,
            database="postgres",
            username="ada",
            password=CANARY,
            savePassword=True,
            readOnly=True,
        ),
    )
    change, read = "UPDATE planned SET part = 0", "SELECT count(*) FROM planned"
    assert (await reader.error(change, analyze=True))["sqlstate"] == "25006"
    assert (await reader.plan(change))["nodes"][0]["details"]["Operation"] == "Update"
    assert (await reader.plan(read, analyze=True))["nodes"][0]["actualRows"] == 1
    session = await open_session(desk.client, reader.connection)
    here = {"connectionId": None, "sessionId": session.id, "analyze": True}
    assert (await desk.error(change, **here))["sqlstate"] == "25006"
    assert (await desk.plan(read, **here))["executionMs"] > 0
    assert await session.state() == "IDLE"
    made = await create_access_token(desk.client, "WORKBENCH_READ_ONLY")
    program = PlanDesk(desk.client.with_token(made["token"]), desk.connection)
    assert (await program.error(change, analyze=True))["sqlstate"] == "25006"
    assert (await program.plan(read, analyze=True))["nodes"]
    writable = await open_session(desk.client, desk.connection)
    values = {"sessionId": writable.id, "statement": read}
    assert (await program.client.send(EXPLAIN, input=values)).code == "FORBIDDEN"
    made = await create_access_token(desk.client, "WORKBENCH_READ")
    values = {"connectionId": desk.connection, "statement": read}
    reads = desk.client.with_token(made["token"])
    assert (await reads.send(EXPLAIN, input=values)).code == "FORBIDDEN"


async def test_error_has_its_position_in_the_statement(desk: PlanDesk) -> None:
    error = await desk.error("SELECT id,\n  nope FROM planned")
    assert (error["sqlstate"], error["position"]) == ("42703", 14)
    assert (error["line"], error["column"]) == (2, 3)
    error = await desk.error("SELEC 1")
    assert (error["sqlstate"], error["position"], error["column"]) == ("42601", 1, 1)
    error = await desk.error("SELECT 1; DROP TABLE planned")
    assert (error["position"], error["message"]) == (
        11,
        "The text contains more than one statement.",
    )
    error = await desk.error("  EXPLAIN ANALYZE SELECT 1")
    assert (error["position"], error["hint"][:12]) == (3, "Omit EXPLAIN")
    assert "executeQuery" in (await desk.error("VACUUM planned"))["hint"]
    assert (await desk.error("ROLLBACK"))["message"] == "ROLLBACK cannot be explained."
    error = await desk.error("(ANALYZE) DELETE FROM planned", analyze=True)
    assert (error["position"], error["message"]) == (1, "ANALYZE cannot be explained.")
    assert (await desk.error("SELECT $1::int"))["sqlstate"] == "08P01"
    assert (await desk.error("-- nothing"))["message"] == "This text contains no statement."
    values = {"connectionId": desk.connection, "statement": "SELECT 1"}
    for wrong in ({"statement": " "}, {"timeoutMs": 50_001}, {"connectionId": None}):
        assert (await desk.client.send(EXPLAIN, input=values | wrong)).code == "BAD_USER_INPUT"


async def test_explain_is_limited_by_its_timeout_and_by_the_wait(
    desk: PlanDesk, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = "WITH changed AS (DELETE FROM planned RETURNING id)"
    waits = f"{changed} SELECT {gate.wait} FROM changed"  # noqa: S608 - the lock of this test
    error = await desk.error(waits, analyze=True, timeoutMs=300)
    assert "took longer than 300 ms" in error["message"]
    monkeypatch.setattr(explain, "WAIT_S", 0.3)
    found = await desk.explain(waits, analyze=True)
    assert (found["error"]["code"], found["run"]["state"]) == ("TIMEOUT", "CANCELLED")
    assert await desk.run("SELECT count(*)::int FROM planned") == [[700]]


async def test_explain_can_be_cancelled_and_ends_with_its_operation(
    desk: PlanDesk, gate: Gate
) -> None:
    session = await open_session(desk.client, desk.connection)
    await session.do("BEGIN")
    here = {"connectionId": None, "sessionId": session.id, "analyze": True}
    for where in ({"analyze": True}, here):
        asking = asyncio.create_task(desk.explain(f"SELECT {gate.wait}", **where))
        await gate.reached()
        (run,) = (await desk.client.ask(ACTIVE))["activeQueries"]
        assert run["statement"].endswith(f"SELECT {gate.wait}")
        assert (await desk.client.ask(CANCEL, id=run["id"]))["cancelQuery"][
            "outcome"
        ] == "CANCELLED"
        found = await asking
        assert (found["run"]["state"], found["error"]["sqlstate"]) == ("CANCELLED", "57014")
    assert await session.state() == "IN_TRANSACTION"
    services, user = desk.client.services, desk.client.user
    assert services is not None
    assert user is not None
    connection = parse_id("conn", desk.connection)
    request = ExplainRequest(connection, None, f"SELECT {gate.wait}", analyze=True)
    asked = asyncio.create_task(explain.explain(services, OwnerId(user.id), request))
    await gate.reached()
    (run,) = (await desk.client.ask(ACTIVE))["activeQueries"]
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await desk.state(run["id"]) == "CANCELLED"


async def test_explain_is_for_the_owner_alone(desk: PlanDesk, bob: Client) -> None:
    session = await open_session(desk.client, desk.connection)
    for where in ({"connectionId": desk.connection}, {"sessionId": session.id}):
        values = where | {"statement": "SELECT 1"}
        assert (await bob.send(EXPLAIN, input=values)).code == "FORBIDDEN"


async def test_explain_works_in_the_session_of_another_replica(
    open_replica: OpenReplica, add_user: AddUser, target: Target
) -> None:
    async with open_replica() as here, open_replica() as there:
        user = await add_user("Ada")
        ada, elsewhere = await here.person(user), await there.person(user)
        connection = await connect_to(target, ada)
        session = await open_session(ada.client, connection)
        await session.do("CREATE TEMPORARY TABLE far AS SELECT 1 AS a")
        desk = PlanDesk(elsewhere.client, connection)
        where = {"connectionId": None, "sessionId": session.id, "analyze": True}
        plan = await desk.plan("DELETE FROM far", **where)
        assert plan["nodes"][1]["relation"] == "far"
        assert await session.rows("SELECT a FROM far") == [[1]]
        await session.close()


async def test_plan_that_is_too_large_is_an_error(
    desk: PlanDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.run("DROP TABLE IF EXISTS parted")
    await desk.run("CREATE TABLE parted (id int) PARTITION BY LIST (id)")
    await desk.run(
        "DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format("
        "'CREATE TABLE parted_%s PARTITION OF parted FOR VALUES IN (%s)', i, i); "
        "END LOOP; END $$"
    )
    assert len((await desk.plan("SELECT * FROM parted"))["nodes"]) == 61
    with monkeypatch.context() as smaller:
        smaller.setattr("db.workbench.plans.plan_nodes.MAX_NODES", 60)
        error = await desk.error("SELECT * FROM parted")
        assert (error["code"], "60 nodes" in error["message"]) == ("TOO_LARGE", True)
    monkeypatch.setattr(explain, "MAX_PLAN_BYTES", 20_000)
    error = await desk.error("SELECT * FROM parted")
    assert (error["code"], "20000 bytes" in error["message"]) == ("TOO_LARGE", True)


@pytest.mark.parametrize("field", ["text", "json"])
async def test_plan_that_aliases_repeat_is_limited(desk: PlanDesk, field: str) -> None:
    """A response of more than 60 MB from one plan."""
    repeated = " ".join(f"a{number}: {field}" for number in range(49))
    document = f"""mutation($input: ExplainQueryInput!) {{
      explainQuery(input: $input) {{ plan {{ {repeated} }} error {{ message }} }} }}"""

    async def explain(length: int) -> str:
        text = "-" * length
        statement = f"SELECT '{text}' || a FROM generate_series(1, 9) AS a ORDER BY 1"  # noqa: S608 - of the test
        values = {"connectionId": desk.connection, "statement": statement}
        return (await desk.client.send(document, input=values)).code

    assert await explain(1_000) == "OK"
    assert await explain(490_000) == "TOO_LARGE"
