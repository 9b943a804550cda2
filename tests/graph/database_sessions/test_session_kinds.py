"""Kinds of sessions: read-only, without autocommit, with an isolation level; and their locks."""

from typing import Any

import pytest

from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token, make_connection, make_connection_to
from tests.fixtures.patience import patience
from tests.fixtures.session_desk import EXECUTE, OPEN, SessionDesk, open_session
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import until

DISCONNECT = "mutation($id: ID!) { disconnect(input: {id: $id}) { connection { id } } }"


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


@pytest.fixture
async def writer(ada: Client, connection: str) -> SessionDesk:
    """A session that writes, with an empty table `kinds`."""
    desk = await open_session(ada, connection)
    await desk.do("DROP TABLE IF EXISTS kinds CASCADE")
    await desk.do("CREATE TABLE kinds (id int PRIMARY KEY, value int)")
    await desk.do("DROP SEQUENCE IF EXISTS kinds_numbers")
    await desk.do("CREATE SEQUENCE kinds_numbers")
    return desk


async def test_session_without_autocommit_begins_as_psql_does(
    ada: Client, connection: str, writer: SessionDesk
) -> None:
    desk = await open_session(ada, connection, autocommit=False)
    await desk.do("INSERT INTO kinds VALUES (1, 1)")
    now = await desk.now()
    assert (now["state"], now["transaction"]["statementCount"]) == ("IN_TRANSACTION", 1)
    assert await writer.rows("SELECT count(*)::int FROM kinds") == [[0]]
    await desk.roll_back()
    assert await desk.state() == "IDLE"
    await desk.do("SAVEPOINT before")  # psql begins before it, too
    await desk.do("INSERT INTO kinds VALUES (2, 2)")
    await desk.commit()
    assert await writer.rows("SELECT id FROM kinds") == [[2]]


@pytest.mark.parametrize(
    "statement",
    ["VACUUM kinds", "CREATE INDEX CONCURRENTLY ON kinds (value)", "DISCARD ALL", "BEGIN"],
)
async def test_session_without_autocommit_does_not_begin_before(
    ada: Client, connection: str, writer: SessionDesk, statement: str
) -> None:
    desk = await open_session(ada, connection, autocommit=False)
    assert (await desk.do(statement))["notices"] == []
    assert await desk.state() == ("IN_TRANSACTION" if statement == "BEGIN" else "IDLE")
    assert await writer.state() == "IDLE"


LIFTED = [
    ["BEGIN READ WRITE", "INSERT INTO kinds VALUES (1, 1)"],
    ["BEGIN", "SET TRANSACTION READ WRITE", "INSERT INTO kinds VALUES (1, 1)"],
    ["BEGIN", "SELECT 1", "COMMIT AND CHAIN", "SET TRANSACTION READ WRITE",
     "INSERT INTO kinds VALUES (1, 1)"],
    ["START TRANSACTION READ WRITE", "SAVEPOINT a", "SET TRANSACTION READ WRITE",
     "INSERT INTO kinds VALUES (1, 1)"],
    ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "INSERT INTO kinds VALUES (1, 1)"],
    ["SET default_transaction_read_only = off", "BEGIN", "INSERT INTO kinds VALUES (1, 1)"],
    ["SET transaction_read_only = off", "INSERT INTO kinds VALUES (1, 1)"],
    ["BEGIN", "ROLLBACK AND CHAIN", "SET transaction_read_only = off",
     "INSERT INTO kinds VALUES (1, 1)"],
    ["DO $$ BEGIN COMMIT; INSERT INTO kinds VALUES (1, 1); END $$"],
    ["DISCARD ALL", "INSERT INTO kinds VALUES (1, 1)"],
    ["BEGIN", "SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a", "SET TRANSACTION READ WRITE",
     "INSERT INTO kinds VALUES (1, 1)"],
    ["CREATE TABLE kinds_more ()"],
]  # fmt: skip


async def test_read_only_session_stays_read_only(
    ada: Client, connection: str, writer: SessionDesk
) -> None:
    for autocommit in (True, False):
        for statements in LIFTED:
            desk = await open_session(ada, connection, readOnly=True, autocommit=autocommit)
            for statement in statements:
                run = await desk.execute(statement)
            assert run["state"] == "FAILED", statements
            await desk.commit()
            assert await writer.rows("SELECT count(*)::int FROM kinds") == [[0]], statements
            await desk.close()


async def test_read_only_session_rolls_back_what_read_only_transactions_change(
    ada: Client, connection: str, writer: SessionDesk
) -> None:
    desk = await open_session(ada, connection, readOnly=True)
    count = "SELECT count(*)::int FROM pg_largeobject_metadata"
    before = await writer.rows(count)
    await desk.execute("SELECT lo_create(0)")  # PostgreSQL 15 allows it
    await desk.do("BEGIN")
    await desk.execute("SELECT lo_create(0)")
    ended = await desk.commit()
    assert ended["run"]["command"] == "ROLLBACK"
    assert await writer.rows(count) == before
    prepared = await desk.execute("PREPARE TRANSACTION 'x'")
    assert prepared["error"]["sqlstate"] == "0A000"


async def test_read_only_session_keeps_settings_and_cursors(ada: Client, connection: str) -> None:
    desk = await open_session(ada, connection, readOnly=True)
    await desk.do("SET application_name = 'reader'")
    assert await desk.rows("SHOW application_name") == [["reader"]]
    await desk.do("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert await desk.rows("SHOW transaction_isolation") == [["repeatable read"]]
    await desk.do("DECLARE few CURSOR FOR SELECT generate_series(1, 3)")
    assert await desk.rows("FETCH 2 FROM few") == [[1], [2]]
    assert (await desk.execute("SELECT 1/0"))["error"]["sqlstate"] == "22012"
    assert await desk.state() == "IN_FAILED_TRANSACTION"
    await desk.roll_back()
    assert (await desk.execute("SELECT 1/0"))["error"]["sqlstate"] == "22012"
    assert await desk.state() == "IDLE"


async def test_read_only_connection_makes_read_only_session(ada: Client, target: Target) -> None:
    connection = await make_connection(
        ada, host="localhost", port=target.port, database="postgres", username="ada",
        password=CANARY, savePassword=True, readOnly=True,
    )  # fmt: skip
    desk = await open_session(ada, connection, readOnly=False)
    assert (await desk.now())["readOnly"] is True
    assert (await desk.execute("CREATE TABLE kinds_more ()"))["error"]["sqlstate"] == "25006"


async def test_connection_that_becomes_read_only_refuses_writing_session(
    ada: Client, connection: str
) -> None:
    desk = await open_session(ada, connection)
    await ada.ask(
        "mutation($input: SaveConnectionInput!) { saveConnection(input: $input) "
        "{ connection { id } } }",
        input={"id": connection, "readOnly": True},
    )
    values = {"sessionId": desk.id, "statement": "SELECT 1"}
    assert (await ada.send(EXECUTE, input=values)).code == "CONFLICT"


async def test_read_only_token_uses_read_only_sessions_only(ada: Client, connection: str) -> None:
    desk = await open_session(ada, connection)
    token = (await create_access_token(ada, "WORKBENCH_READ", "WORKBENCH_READ_ONLY"))["token"]
    reader = ada.with_token(token)
    for name in ("commitTransaction", "rollbackTransaction", "closeSession"):
        text = f"mutation($id: ID!) {{ {name}(input: {{sessionId: $id}}) {{ session {{ id }} }} }}"
        assert (await reader.send(text, id=desk.id)).code == "FORBIDDEN"
    values = {"sessionId": desk.id, "statement": "SELECT 1"}
    assert (await reader.send(EXECUTE, input=values)).code == "FORBIDDEN"
    assert (await reader.send(DISCONNECT, id=connection)).code == "FORBIDDEN"
    assert await desk.rows("SELECT 1") == [[1]]
    own = await open_session(reader, connection)
    assert (await own.now())["readOnly"] is True
    assert await own.rows("SELECT 1") == [[1]]
    await desk.close()
    assert (await reader.send(DISCONNECT, id=connection)).data
    assert (await own.now())["state"] == "CLOSED"


async def test_isolation_level_is_that_of_every_transaction(ada: Client, connection: str) -> None:
    desk = await open_session(ada, connection, isolationLevel="SERIALIZABLE", autocommit=False)
    for _ in range(2):
        assert await desk.rows("SHOW transaction_isolation") == [["serializable"]]
        await desk.commit()


async def test_open_sessions_of_user_are_limited(
    ada: Client, connection: str, services: Any
) -> None:
    service = services.database_sessions
    service.limits = service.limits._replace(max_open=2)
    first, _ = await open_session(ada, connection), await open_session(ada, connection)
    refused = await ada.send(OPEN, input={"connectionId": connection})
    assert refused.code == "RATE_LIMITED"
    assert "closeSession" in refused.errors[0]["extensions"]["hint"]
    await first.close()
    await open_session(ada, connection)


async def test_locks_show_what_session_holds_and_who_waits(
    ada: Client, connection: str, writer: SessionDesk
) -> None:
    other = await open_session(ada, connection)
    await writer.do("BEGIN")
    await writer.do("LOCK TABLE kinds IN ACCESS EXCLUSIVE MODE")
    run = await other.execute("SELECT * FROM kinds", waitMs=0)
    query = """query($id: ID!) { session(id: $id) { locks {
      mode type relation granted since waiters { pid username statement since } } } }"""

    async def locks(desk: SessionDesk) -> list[Any]:
        found = (await ada.ask(query, id=desk.id))["session"]["locks"]
        return [lock for lock in found if lock["relation"] == "public.kinds"]

    async def is_waiting() -> bool:
        return [lock["granted"] for lock in await locks(other)] == [False]

    await until(is_waiting)
    (held,) = await locks(writer)
    assert (held["mode"], held["granted"], held["since"]) == ("AccessExclusiveLock", True, None)
    assert [waiter["statement"] for waiter in held["waiters"]] == ["SELECT * FROM kinds"]
    await writer.close()
    closed = (await ada.ask(query, id=writer.id))["session"]["locks"]
    assert closed == []
    async with patience():
        assert await other.rows("SELECT 1") == [[1]]
    assert run["state"] in {"QUEUED", "RUNNING"}
