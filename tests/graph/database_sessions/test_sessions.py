"""Database sessions in the API: open, execute, commit, roll back, cancel, follow and close."""

import asyncio
import itertools
from typing import Any
from uuid import UUID

import pytest

from db.kit.base import new_id
from db.services import Services
from db.workbench.sessions.held_session import HeldSession
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection, make_connection_to
from tests.fixtures.patience import patience
from tests.fixtures.replicas import Gate
from tests.fixtures.session_desk import EXECUTE, OPEN, SessionDesk, open_session
from tests.fixtures.targets import Target

CHANGED = """subscription($id: ID!) { sessionChanged(id: $id) {
  state closeReason transaction { statementCount } warning { reason } } }"""


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


@pytest.fixture
async def desk(ada: Client, connection: str) -> SessionDesk:
    return await open_session(ada, connection)


@pytest.fixture
async def table(desk: SessionDesk) -> None:
    """The table `held`, without rows."""
    await desk.do("DROP TABLE IF EXISTS held")
    await desk.do("CREATE TABLE held (id int PRIMARY KEY, value int)")


@pytest.mark.usefixtures("table")
async def test_session_holds_transaction_across_requests(
    ada: Client, connection: str, desk: SessionDesk
) -> None:
    other = await open_session(ada, connection)
    await desk.do("BEGIN")
    begun = await desk.now()
    assert (begun["state"], begun["transaction"]["statementCount"]) == ("IN_TRANSACTION", 0)
    await desk.do("INSERT INTO held VALUES (1, 10)")
    assert (await desk.now())["transaction"] == {
        "startedAt": begun["transaction"]["startedAt"],
        "statementCount": 1,
    }
    assert await other.rows("SELECT count(*)::int FROM held") == [[0]]
    done = await desk.commit()
    assert (done["run"]["command"], done["session"]["state"]) == ("COMMIT", "IDLE")
    assert done["session"]["transaction"] is None
    assert await other.rows("SELECT count(*)::int FROM held") == [[1]]


async def test_session_keeps_settings_tables_cursors_and_locks(desk: SessionDesk) -> None:
    await desk.do("SET application_name = 'mine'")
    await desk.do("CREATE TEMPORARY TABLE notes (text text)")
    await desk.do("INSERT INTO notes VALUES ('a')")
    await desk.do("PREPARE count_notes AS SELECT count(*)::int FROM notes")
    await desk.do("SELECT pg_advisory_lock(7)")
    await desk.do("BEGIN")
    await desk.do("DECLARE few CURSOR FOR SELECT generate_series(1, 3)")
    assert await desk.rows("FETCH 2 FROM few") == [[1], [2]]
    await desk.do("ROLLBACK")
    assert await desk.rows("SHOW application_name") == [["mine"]]
    assert await desk.rows("EXECUTE count_notes") == [[1]]
    assert await desk.rows(
        "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    ) == [[1]]


async def test_session_shows_notification_as_notice_of_next_run(
    ada: Client, connection: str, desk: SessionDesk
) -> None:
    other = await open_session(ada, connection)
    await desk.do("LISTEN orders")
    await other.do("NOTIFY orders, 'new'")
    notices = (await desk.do("SELECT 1"))["notices"]
    assert [notice["severity"] for notice in notices] == ["NOTICE"]
    assert 'Asynchronous notification "orders" with payload "new"' in notices[0]["message"]
    assert (await desk.do("SELECT 1"))["notices"] == []


@pytest.mark.usefixtures("table")
async def test_session_state_is_what_the_server_says(desk: SessionDesk) -> None:
    await desk.do("BEGIN")
    failed = await desk.execute("INSERT INTO held VALUES (1, 1/0)")
    assert failed["error"]["sqlstate"] == "22012"
    assert await desk.state() == "IN_FAILED_TRANSACTION"
    assert (await desk.execute("SELECT 1"))["error"]["sqlstate"] == "25P02"
    done = await desk.commit()
    assert (done["run"]["command"], done["session"]["state"]) == ("ROLLBACK", "IDLE")


@pytest.mark.usefixtures("table")
async def test_savepoint_recovers_failed_transaction(desk: SessionDesk) -> None:
    await desk.do("BEGIN")
    await desk.do("INSERT INTO held VALUES (1, 1)")
    await desk.do("SAVEPOINT before")
    await desk.execute("INSERT INTO held VALUES (1, 2)")
    await desk.do("ROLLBACK TO before")
    assert await desk.state() == "IN_TRANSACTION"
    await desk.commit()
    assert await desk.rows("SELECT value FROM held") == [[1]]


async def test_commit_and_chain_begins_another_transaction(desk: SessionDesk) -> None:
    await desk.do("BEGIN")
    await desk.do("SELECT 1")
    first = (await desk.now())["transaction"]
    await desk.do("COMMIT AND CHAIN")
    second = (await desk.now())["transaction"]
    assert second["statementCount"] == 0
    assert second["startedAt"] > first["startedAt"]


@pytest.mark.usefixtures("table")
async def test_runs_of_session_execute_in_order(desk: SessionDesk, gate: Gate) -> None:
    first = await desk.execute(f"SELECT {gate.wait}", waitMs=0)
    runs = [await desk.execute(f"SELECT {number}", waitMs=0) for number in range(4)]
    assert [run["state"] for run in runs] == ["QUEUED"] * 4
    assert first["state"] in {"QUEUED", "RUNNING"}
    await gate.open()
    await desk.do("INSERT INTO held VALUES (1, 1)")
    found = await desk.client.ask(
        """query($id: ID!) { session(id: $id) { runs(last: 5) { totalCount
          nodes { statement startedAt finishedAt } } } }""",
        id=desk.id,
    )
    nodes = found["session"]["runs"]["nodes"][::-1]
    assert len(nodes) == 5
    assert [node["startedAt"] for node in nodes] == sorted(node["startedAt"] for node in nodes)
    for before, after in itertools.pairwise(nodes):
        assert before["finishedAt"] <= after["startedAt"]


@pytest.mark.usefixtures("table")
async def test_cancel_keeps_session_and_transaction(desk: SessionDesk, gate: Gate) -> None:
    await desk.do("BEGIN")
    await desk.do("INSERT INTO held VALUES (1, 1)")
    await desk.do("SAVEPOINT before")
    run = await desk.execute(f"SELECT {gate.wait}", waitMs=0)
    await gate.reached()
    cancelled = await desk.client.ask(
        "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome connectionUsable } }",
        id=run["id"],
    )
    assert cancelled["cancelQuery"] == {"outcome": "CANCELLED", "connectionUsable": True}
    assert await desk.state() == "IN_FAILED_TRANSACTION"
    await desk.do("ROLLBACK TO before")
    await desk.commit()
    assert await desk.rows("SELECT count(*)::int FROM held") == [[1]]


async def test_cancel_of_queued_run_leaves_session(desk: SessionDesk, gate: Gate) -> None:
    first = await desk.execute(f"SELECT {gate.wait}", waitMs=0)
    second = await desk.execute("SELECT 1", waitMs=0)
    await desk.client.ask(
        "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }", id=second["id"]
    )
    await gate.open()
    assert await desk.rows("SELECT 2") == [[2]]
    assert first["state"] in {"QUEUED", "RUNNING"}


async def test_timeout_ends_statement_and_keeps_transaction(desk: SessionDesk) -> None:
    await desk.do("BEGIN")
    run = await desk.execute("SELECT pg_sleep(60)", timeoutMs=100)
    assert run["state"] == "TIMED_OUT"
    assert await desk.state() == "IN_FAILED_TRANSACTION"
    await desk.roll_back()
    assert await desk.rows("SHOW statement_timeout") == [["0"]]


async def test_max_rows_keeps_transaction(desk: SessionDesk) -> None:
    await desk.do("BEGIN")
    run = await desk.do("SELECT generate_series(1, 100000)", maxRows=5)
    assert (run["rowCount"], run["truncated"]) == (5, {"reason": "MAX_ROWS"})
    assert await desk.state() == "IN_TRANSACTION"


@pytest.mark.usefixtures("table")
async def test_columns_are_described_without_a_trace(desk: SessionDesk) -> None:
    await desk.do("SET statement_timeout = '7s'")
    outside = await desk.do("SELECT value FROM held")
    await desk.do("BEGIN")
    inside = await desk.do("SELECT value FROM held")
    assert [run["columns"][0]["table"] for run in (outside, inside)] == ["public.held"] * 2
    assert await desk.rows("SHOW statement_timeout") == [["7s"]]
    assert await desk.state() == "IN_TRANSACTION"


async def test_session_changed_follows_until_closed(desk: SessionDesk) -> None:
    async with desk.client.follow(CHANGED, id=desk.id) as received:
        assert (await anext(received)).data["sessionChanged"]["state"] == "IDLE"
        await desk.do("BEGIN")
        while (await anext(received)).data["sessionChanged"]["state"] != "IN_TRANSACTION":
            pass
        closed = await desk.close()
        assert (closed["state"], closed["closeReason"]) == ("CLOSED", "CLIENT")
        rest = [one.data["sessionChanged"] async for one in received]
    assert (rest[-1]["state"], rest[-1]["closeReason"]) == ("CLOSED", "CLIENT")


@pytest.mark.usefixtures("table")
async def test_close_session_rolls_back_and_refuses_statements(
    ada: Client, connection: str, desk: SessionDesk, gate: Gate
) -> None:
    await desk.do("BEGIN")
    await desk.do("INSERT INTO held VALUES (1, 1)")
    running = await desk.execute(f"SELECT {gate.wait}", waitMs=0)
    queued = await desk.execute("SELECT 1", waitMs=0)
    await gate.reached()
    await desk.close()
    assert (await desk.close())["state"] == "CLOSED"  # again
    values = {"sessionId": desk.id, "statement": "SELECT 1"}
    refused = await ada.send(EXECUTE, input=values)
    assert refused.code == "CONFLICT"
    found = await ada.ask(
        "query($ids: [ID!]!) { nodes(ids: $ids) { ... on QueryRun { state error { message } } } }",
        ids=[running["id"], queued["id"]],
    )
    assert [run["state"] for run in found["nodes"]] == ["CANCELLED", "INTERRUPTED"]
    other = await open_session(ada, connection)
    assert await other.rows("SELECT count(*)::int FROM held") == [[0]]


def held_by(services: Services, desk: SessionDesk) -> HeldSession:
    holder = services.database_sessions.holder
    assert holder is not None
    return holder.held[UUID(hex=desk.id.partition("_")[2])]


async def test_idle_session_is_warned_and_closed(
    ada: Client, connection: str, services: Services
) -> None:
    desk = await open_session(ada, connection, idleTimeoutMs=3_600_000)
    held = held_by(services, desk)
    async with patience(), ada.follow(CHANGED, id=desk.id) as received:
        assert (await anext(received)).data["sessionChanged"]["warning"] is None
        held._used_at -= 3_570
        while (seen := (await anext(received)).data["sessionChanged"])["warning"] is None:
            pass
        assert (seen["state"], seen["warning"]["reason"]) == ("IDLE", "IDLE_TIMEOUT")
        held._used_at -= 30
        last = [one.data["sessionChanged"] async for one in received][-1]
    assert (last["state"], last["closeReason"]) == ("CLOSED", "IDLE_TIMEOUT")


async def test_long_transaction_is_closed_while_statement_runs(
    ada: Client, connection: str, services: Services, gate: Gate
) -> None:
    desk = await open_session(ada, connection, transactionTimeoutMs=3_600_000)
    await desk.do("BEGIN")
    running = asyncio.create_task(desk.execute(f"SELECT {gate.wait}"))
    await gate.reached()
    held = held_by(services, desk)
    assert held._transaction_began is not None
    held._transaction_began -= 3_600
    run = await running
    assert run["state"] == "INTERRUPTED"
    assert "time limit" in run["error"]["message"]
    async with ada.follow(CHANGED, id=desk.id) as received:
        last = [one.data["sessionChanged"] async for one in received][-1]
    assert last["closeReason"] == "TRANSACTION_TIMEOUT"


async def test_lost_connection_closes_session(desk: SessionDesk, target: Target) -> None:
    pid = (await desk.now())["backendPid"]
    queued = await desk.execute(f"SELECT pg_terminate_backend({pid})")
    assert queued["state"] == "FAILED"
    async with desk.client.follow(CHANGED, id=desk.id) as received:
        last = [one.data["sessionChanged"] async for one in received][-1]
    assert last["closeReason"] == "LOST"


async def test_idle_session_notices_lost_connection(desk: SessionDesk, target: Target) -> None:
    pid = (await desk.now())["backendPid"]
    await target.administer(f"SELECT pg_terminate_backend({pid})")
    async with desk.client.follow(CHANGED, id=desk.id) as received:
        last = [one.data["sessionChanged"] async for one in received][-1]
    assert last["closeReason"] == "LOST"


async def test_disconnect_and_delete_connection_close_sessions(
    ada: Client, connection: str, desk: SessionDesk
) -> None:
    await ada.ask(
        "mutation($id: ID!) { disconnect(input: {id: $id}) { connection { id } } }", id=connection
    )
    assert (await desk.now())["closeReason"] == "CLIENT"
    other = await open_session(ada, connection)
    await ada.ask(
        "mutation($id: ID!) { deleteConnection(input: {id: $id}) { deletedConnectionId } }",
        id=connection,
    )
    assert (await other.now())["closeReason"] == "CLIENT"


async def test_open_session_with_key_opens_once(ada: Client, connection: str) -> None:
    values = {"connectionId": connection, "idempotencyKey": new_id().hex}
    first = await ada.ask(OPEN, input=values)
    again = await ada.ask(OPEN, input=values)
    assert first["openSession"]["session"]["id"] == again["openSession"]["session"]["id"]
    other = await ada.send(OPEN, input=values | {"name": "other"})
    assert other.code == "CONFLICT"


async def test_open_session_that_cannot_connect_leaves_nothing(ada: Client) -> None:
    connection = await make_connection(ada, host="127.0.0.1", port=1)
    values = {"connectionId": connection, "idempotencyKey": new_id().hex}
    refused = await ada.send(OPEN, input=values)
    assert refused.code in {"UNAVAILABLE", "BAD_USER_INPUT"}
    assert (await ada.send(OPEN, input=values)).code == refused.code  # the key is free
    found = await ada.ask("{ sessions(first: 10) { totalCount } }")
    assert found["sessions"]["totalCount"] == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"idleTimeoutMs": 10}, "BAD_USER_INPUT"),
        ({"transactionTimeoutMs": 10**10}, "BAD_USER_INPUT"),
        ({"name": " "}, "BAD_USER_INPUT"),
    ],
)
async def test_open_session_refuses_bad_options(
    ada: Client, connection: str, options: dict[str, Any], code: str
) -> None:
    refused = await ada.send(OPEN, input={"connectionId": connection} | options)
    assert refused.code == code


async def test_execute_query_takes_one_destination(
    ada: Client, connection: str, desk: SessionDesk
) -> None:
    for values in ({}, {"connectionId": connection, "sessionId": desk.id}):
        refused = await ada.send(EXECUTE, input=values | {"statement": "SELECT 1"})
        assert refused.code == "BAD_USER_INPUT"


async def test_sessions_are_listed_and_not_seen_by_others(
    ada: Client, bob: Client, connection: str, desk: SessionDesk
) -> None:
    closed = await open_session(ada, connection)
    await closed.close()
    query = "query($open: Boolean) { sessions(first: 10, open: $open) { totalCount nodes { id } } }"
    for is_open, ids in ((True, [desk.id]), (False, [closed.id]), (None, [closed.id, desk.id])):
        found = (await ada.ask(query, open=is_open))["sessions"]
        assert [node["id"] for node in found["nodes"]] == ids
    assert (await bob.ask(query))["sessions"]["totalCount"] == 0
    refused = await bob.send(EXECUTE, input={"sessionId": desk.id, "statement": "SELECT 1"})
    assert refused.code == "FORBIDDEN"
