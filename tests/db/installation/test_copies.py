"""A copy of the database that is served with the same keys acts on nothing of the original."""

import asyncio
import secrets
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from db.installation import recognize, renew
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database, open_database
from db.postgres.route.urls import parse_url
from db.services import Services
from db.workbench.sessions.maintenance import Takeover
from tests.fixtures.cluster import Cluster
from tests.fixtures.connected import connected, rows
from tests.fixtures.copies import dump_into
from tests.fixtures.database import _administer, _drop, named
from tests.fixtures.patience import patience
from tests.fixtures.replicas import AddUser, Gate, OpenReplica, connect_to
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import Target

KEEP = timedelta(days=1)
SCRIPT = """mutation($input: ExecuteScriptInput!) {
  executeScript(input: $input) { scriptRun { id state } } }"""
ENDED = """
SELECT 'run', state, error::json ->> 'message' FROM query_runs
UNION ALL SELECT 'script', state, error::json ->> 'message' FROM script_runs
UNION ALL SELECT 'session', state, close_reason FROM database_sessions ORDER BY 1, 2, 3
"""
COPIED = "The installation that this database was copied from"


async def take_over(services: Services) -> None:
    """What a replica does periodically for processes that are dead or hang."""
    await Takeover(
        services.database, services.events, services.runner, services.database_sessions
    ).run()
    await services.scripts.interrupt_orphans()


async def test_copy_ends_no_statement_of_the_original(
    open_replica: OpenReplica,
    add_user: AddUser,
    target: Target,
    gate: Gate,
    committed_url: str,
    empty_url: str,
    tmp_path: Path,
) -> None:
    """The original executes a run and a script, and holds a session with a transaction."""
    async with open_replica() as original:
        ada = await original.person(await add_user("Ada"))
        connection = await connect_to(target, ada)
        desk = await open_session(ada.client, connection)
        await desk.do("BEGIN")
        pid = (await desk.rows("SELECT pg_backend_pid()"))[0][0]
        run = await ada.execute(connection, f"SELECT {gate.wait}")
        await gate.reached()
        script = await ada.ask(
            SCRIPT, input={"connectionId": connection, "script": f"SELECT {gate.wait}; SELECT 2"}
        )
        script_id = script["executeScript"]["scriptRun"]["id"]
        await dump_into(committed_url, empty_url, tmp_path)
        await rows(empty_url, "DELETE FROM replica_processes")  # none of the original looks alive
        async with open_replica(database_url=empty_url) as copy:
            await take_over(copy.services)
            states = await rows(empty_url, ENDED)
        assert {state for kind, state, _ in states if kind != "session"} == {"INTERRUPTED"} | (
            {"SUCCEEDED"}  # BEGIN and the first SELECT of the session
        )
        assert all(why.startswith(COPIED) for _, state, why in states if state == "INTERRUPTED")
        assert [row[1:] for row in states if row[0] == "session"] == [
            ("CLOSED", "SERVER_STOPPED")
        ] * 2
        assert await rows(empty_url, "SELECT 1 FROM open_connections") == []
        assert (await desk.rows("SELECT pg_backend_pid()"))[0][0] == pid
        await desk.commit()
        await gate.open()
        async with patience():
            while (await ada.run(run))["state"] == "RUNNING":  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.05)
            ask = "query($id: ID!) { scriptRun(id: $id) { state } }"
            while (await ada.ask(ask, id=script_id))["scriptRun"]["state"] == "RUNNING":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await ada.run(run))["state"] == "SUCCEEDED"
        assert (await ada.ask(ask, id=script_id))["scriptRun"]["state"] == "SUCCEEDED"


async def test_recognize_renews_once_in_a_database_made_from_a_template(
    cluster: Cluster, committed: Database, committed_url: str
) -> None:
    """Eight processes start on the copy at the same time."""
    original = await recognize(committed, keep=KEEP)
    await committed.close()  # a template has no clients
    name = f"copied_{new_id().hex}"
    source = committed_url.rpartition("/")[2]
    await _administer(cluster, f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
    url = named(cluster.url, name)
    copy = await open_database(url, pool_size=8)
    found = await asyncio.gather(*(recognize(copy, keep=KEEP) for _ in range(8)))
    again = await recognize(copy, keep=KEEP)
    await copy.close()
    await _drop(cluster, url)
    assert {one.id for one in found} == {again.id} != {original.id}
    assert again.copied_from == original.id


async def test_recognize_renews_on_another_server_and_not_after_a_failover(
    committed: Database, committed_url: str
) -> None:
    """A promoted standby has the system identifier, OID and name of its primary."""
    first = await recognize(committed, keep=KEEP)
    assert await recognize(committed, keep=KEEP) == first
    await rows(committed_url, "UPDATE installation SET system_identifier = '1' RETURNING id")
    second = await recognize(committed, keep=KEEP)
    assert second.id != first.id
    assert second.database == first.database
    third = await renew(committed, keep=KEEP)
    assert third.copied_from == second.id
    assert await recognize(committed, keep=KEEP) == third


async def test_recognize_renews_nothing_where_the_system_identifier_is_hidden(
    committed: Database, committed_url: str
) -> None:
    """Replicas may have different roles, of which only some may read it."""
    first = await recognize(committed, keep=KEEP)
    role, password = f"role_{secrets.token_hex(4)}", secrets.token_hex(8)
    place = parse_url(committed_url)
    connection = await asyncpg.connect(committed_url)
    try:
        await connection.execute(f"""CREATE ROLE {role} LOGIN PASSWORD '{password}';
            GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
            REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC""")
        url = f"postgresql://{role}:{password}@{place.place}/{place.database}"
        blind = await open_database(url, pool_size=1)
        try:
            assert await recognize(blind, keep=KEEP) == first
        finally:
            await blind.close()
        await connection.execute("UPDATE installation SET system_identifier = NULL")
        assert (await recognize(committed, keep=KEEP)).id == first.id
        assert await recognize(committed, keep=KEEP) == first
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()


def insert_runs(owner: OwnerId) -> str:
    """A queued and a running one, of a process that is not alive."""
    return f"""INSERT INTO query_runs (id, owner_id, statement, parameters, read_only, timeout_ms,
            max_rows, max_bytes, process, state, started_at)
        SELECT gen_random_uuid(), '{owner}', 'SELECT 1', '[]', false, 1, 1, 1, 1, state, now()
        FROM unnest(ARRAY['QUEUED', 'RUNNING']) AS state"""  # noqa: S608 - an ID


async def test_rows_restored_under_a_running_server_are_not_taken_over(
    open_replica: OpenReplica, add_user: AddUser, committed_url: str
) -> None:
    """A `pg_restore --clean` replaces all tables: those of the processes and the installation."""
    async with open_replica() as replica:
        before = replica.services.runner.heartbeat.installation_id
        restored = (
            "UPDATE installation SET id = gen_random_uuid(), database_oid = 1",
            "DELETE FROM replica_processes",
            insert_runs((await add_user("Ada")).id),
        )
        async with connected(committed_url) as connection:
            await connection.execute("; ".join(restored))  # one transaction
        await take_over(replica.services)
        async with patience():  # the next heartbeat, which may have been sent already
            while replica.services.runner.heartbeat.installation_id == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        found = await rows(
            committed_url, "SELECT state, error::json ->> 'message' FROM query_runs ORDER BY 1"
        )
        messages = [(state, message[: len(COPIED)]) for state, message in found]
        assert messages == [("INTERRUPTED", COPIED)] * 2


@pytest.mark.parametrize("is_copy", [True, False])
async def test_start_ends_active_runs_only_in_a_copy(
    open_replica: OpenReplica, add_user: AddUser, committed_url: str, *, is_copy: bool
) -> None:
    async with open_replica():
        pass
    owner = (await add_user("Ada")).id
    await rows(committed_url, insert_runs(owner))
    if is_copy:
        await rows(committed_url, "UPDATE installation SET database_oid = 1")
    async with open_replica():
        found = await rows(
            committed_url,
            "SELECT state, error::json ->> 'message' FROM query_runs ORDER BY 2",
        )
    assert len(found) == 2
    for state, message in found:
        assert ((state, (message or "")[: len(COPIED)]) == ("INTERRUPTED", COPIED)) == is_copy
