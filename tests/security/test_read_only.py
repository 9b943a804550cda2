"""`readOnly` runs make no lasting change, and tell whether the role could make one anyway."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db.kit.base import new_id
from db.objects.store import ObjectStore
from db.runs import Ending, RunRow, RunState
from db.workbench.catalogue import CatalogueReader
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.statement import read_only_notice
from db.workbench.execution.statement.connection_use import PooledUse
from db.workbench.execution.statement.statement_run import StatementRun
from db.workbench.results.spool import Spool
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.patience import patience
from tests.fixtures.read_only import SETUP, STATE, WRITES, statements
from tests.fixtures.runs import Desk
from tests.fixtures.targets import Target

PAGE = Path(__file__).parents[2] / "docs" / "connections.md"
COUNT = int(os.environ.get("HOWDAH_READ_ONLY_STATEMENTS", "1000"))
SEED = 13
AT_ONCE = 4
"""The pool of the workbench has so many connections."""


@pytest.fixture
async def vault_of_gold(target: Target) -> AsyncIterator[Target]:
    await target.script(SETUP)
    yield target
    await target.script("DROP SCHEMA vault CASCADE")


async def test_read_only_runs_make_no_lasting_change(
    vault_of_gold: Target, desk: Desk, result_store: ObjectStore
) -> None:
    """`HOWDAH_READ_ONLY_STATEMENTS=10000` runs the long form."""
    before = await vault_of_gold.administer(STATE)
    sample = await desk.run("SELECT 1", read_only=True, timeout_ms=5_000)
    queue, states = statements(COUNT, SEED), list[str]()

    async def ended(ending: Ending) -> bool:
        states.append(ending.state)
        return True

    async def work() -> None:
        while queue:
            run = sample._replace(id=new_id(), statement=queue.pop())
            spool = Spool(result_store, run.id.hex, _ignore)
            await StatementRun(
                PooledUse(run, desk.server.workbench),
                desk.server.workbench,
                spool,
                ReadThrottle(),
                max_cell=1_000,
            ).run(_ignore, ended)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(work())
    assert await vault_of_gold.administer(STATE) == before
    assert len(states) == COUNT
    assert states.count(RunState.SUCCEEDED) > COUNT / 20  # the statements are not just malformed


async def _ignore(*_: Any) -> None:
    """The run is not recorded: that would take most of the time."""


@contextlib.asynccontextmanager
async def _as_reader(target: Target) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=target.port,
        user="reader",
        password="a long random password",
        database="postgres",
        ssl=False,
    )
    try:
        yield connection
    finally:
        await connection.close()


def _is_ours(run: RunRow) -> bool:
    return any("read-only transaction does not" in one.message for one in run.parsed_notices)


@pytest.mark.parametrize(
    "statement",
    [
        ";;COMMIT",
        "; ; COMMIT",
        " ;\n/* /* nested */ */;-- so\n;commit",
        ";END;",
        "\v;\fROLLBACK AND CHAIN",
        ";;PREPARE TRANSACTION 'a'",
        ";/**/start transaction read write",
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
async def test_transaction_control_is_seen_behind_empty_statements(
    desk: Desk, statement: str, *, read_only: bool
) -> None:
    run = await desk.run(statement, read_only=read_only)
    assert run.state == RunState.FAILED
    assert run.parsed_error is not None
    assert run.parsed_error.sqlstate == "0A000"


@pytest.mark.parametrize(
    ("statement", "passes"),
    [
        ("SELECT setval('vault.numbers', 77)", False),
        ("SELECT nextval('vault.numbers')", False),
        ("CREATE TEMP TABLE passing (a int)", False),
        ("SELECT lo_create(0)", False),
        ("REFRESH MATERIALIZED VIEW vault.sum", False),
        ("VACUUM vault.gold", False),
        ("NOTIFY gold", True),
        ("SELECT pg_notify('gold', 'x')", True),
        ("SELECT pg_advisory_lock(4)", True),
        ("LOCK TABLE vault.gold IN ACCESS EXCLUSIVE MODE", True),
        ("ANALYZE vault.gold", True),
        ("REINDEX TABLE vault.gold", True),
        ("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE false", True),
        ("SELECT pg_logical_emit_message(false, 'a', 'b')", True),
    ],
)
async def test_documented_rules_of_read_only_transactions(
    vault_of_gold: Target, desk: Desk, statement: str, *, passes: bool
) -> None:
    """The table in docs/connections.md: what PostgreSQL itself lets a read-only transaction do."""
    before = await vault_of_gold.administer(STATE)
    if "lo_create" in statement:
        passes = await vault_of_gold.version() < 160_000
    run = await desk.run(statement, read_only=True)
    assert (run.state == RunState.SUCCEEDED) is passes, run.error
    assert await vault_of_gold.administer(STATE) == before
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert await vault_of_gold.administer(locks) == 0


@pytest.mark.parametrize(
    "reset", ["RESET transaction_read_only", "SET transaction_read_only TO DEFAULT"]
)
async def test_reset_of_the_mode_lets_at_most_sequences_pass(
    vault_of_gold: Target, desk: Desk, reset: str
) -> None:
    """PostgreSQL 15 and older reset the mode of a transaction, and its start options cannot."""
    gold = "SELECT string_agg(g::text || g.xmin::text, ',' ORDER BY id) FROM vault.gold AS g"
    before, gold_before = [await vault_of_gold.administer(sql) for sql in (STATE, gold)]
    changes = "PERFORM setval('vault.numbers', 77); DELETE FROM vault.gold; CREATE TABLE vault.b ()"
    run = await desk.run(f"DO $$ BEGIN {reset}; {changes}; END $$", read_only=True)
    if await vault_of_gold.version() < 160_000:
        assert run.state == RunState.SUCCEEDED, run.error
        assert "became writable" in run.parsed_notices[-1].message
        assert await vault_of_gold.administer("SELECT last_value FROM vault.numbers") == 77
        await vault_of_gold.administer("SELECT setval('vault.numbers', 1, false)")
    else:
        assert run.state == RunState.FAILED
    assert await vault_of_gold.administer(gold) == gold_before
    assert await vault_of_gold.administer(STATE) == before


async def test_notification_of_read_only_run_is_not_sent(vault_of_gold: Target, desk: Desk) -> None:
    heard: list[str] = []
    async with vault_of_gold._as_superuser() as listener:
        await listener.add_listener("gold", lambda *found: heard.append(str(found[3])))
        await desk.run("SELECT pg_notify('gold', 'from a reader')", read_only=True)
        await desk.run("SELECT pg_notify('gold', 'from a writer')")
        async with patience():
            while not heard:
                await listener.fetchval("SELECT 1")
    assert heard == ["from a writer"]


RISKS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "superuser": (
        "ALTER ROLE ada SUPERUSER",
        "ALTER ROLE ada NOSUPERUSER",
        [("SUPERUSER", "ada")],
    ),
    "member of a superuser": (
        "GRANT postgres TO ada WITH INHERIT FALSE",
        "REVOKE postgres FROM ada",
        [("SUPERUSER", "postgres")],
    ),
    "programs": (
        "GRANT pg_execute_server_program TO ada",
        "REVOKE pg_execute_server_program FROM ada",
        [("SERVER_PROGRAMS", "pg_execute_server_program")],
    ),
    "files": (
        "GRANT pg_write_server_files TO ada",
        "REVOKE pg_write_server_files FROM ada",
        [("SERVER_FILES", "pg_write_server_files")],
    ),
    "replication": (
        "ALTER ROLE ada REPLICATION",
        "ALTER ROLE ada NOREPLICATION",
        [("REPLICATION", "ada")],
    ),
    "dblink": (
        "CREATE EXTENSION dblink",
        "DROP EXTENSION dblink",
        [("EXTENSION", "dblink")],
    ),
    "foreign server": (
        (
            "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;"
            "GRANT USAGE ON FOREIGN SERVER far TO ada"
        ),
        "DROP EXTENSION postgres_fdw CASCADE",
        [("FOREIGN_SERVER", "far")],
    ),
    "untrusted language": (  # the test's PostgreSQL has no plpython3u
        (
            "CREATE FUNCTION public.any() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';"
            "UPDATE pg_language SET lanpltrusted = false WHERE lanname = 'plpgsql'"
        ),
        (
            "UPDATE pg_language SET lanpltrusted = true WHERE lanname = 'plpgsql';"
            "DROP FUNCTION public.any()"
        ),
        [("UNTRUSTED_LANGUAGE", "plpgsql")],
    ),
    "harmless": (
        (
            "CREATE EXTENSION hstore; CREATE EXTENSION postgres_fdw;"
            "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE EXTENSION dblink;"
            "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC"
        ),
        "DROP EXTENSION postgres_fdw CASCADE; DROP EXTENSION dblink; DROP EXTENSION hstore",
        [],
    ),
}


@contextlib.asynccontextmanager
async def given(target: Target, name: str) -> AsyncIterator[None]:
    grant, revoke, _ = RISKS[name]
    if await target.version() < 160_000:
        grant = grant.replace(" WITH INHERIT FALSE", "")
    await target.script(grant)
    try:
        yield
    finally:
        await target.script(revoke)


@pytest.mark.parametrize("name", RISKS)
async def test_risks_of_the_role_are_told_by_connection_and_run(
    desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only_notice, "KNOWN_FOR_S", 0.0)
    reader = CatalogueReader(desk.server.workbench, desk.owner)
    assert await reader.read_only_risks(desk.connection_id) == []
    expected = RISKS[name][2]
    async with given(desk.target, name):
        assert await reader.read_only_risks(desk.connection_id) == expected
        run = await desk.run("SELECT 1", read_only=True)
        writing = await desk.run("SELECT 1")
    assert (run.state, writing.state) == (RunState.SUCCEEDED, RunState.SUCCEEDED)
    assert _is_ours(run) is bool(expected)
    assert all(found in run.notices for _, found in expected)
    assert not writing.parsed_notices
    assert not _is_ours(await desk.run("SELECT 1", read_only=True))


async def test_role_of_the_docs_only_reads(vault_of_gold: Target) -> None:
    sql = PAGE.read_text().partition('```sql title="A role that only reads"')[2].partition("```")[0]
    sql = sql.replace("shop", "vault").replace("DATABASE vault", "DATABASE postgres")
    await vault_of_gold.script(sql.replace("owner_of_tables", "ada"))
    before = await vault_of_gold.administer(STATE)
    try:
        async with _as_reader(vault_of_gold) as reader:
            assert await reader.fetch("SELECT * FROM vault.all_gold")
            for write in WRITES:
                with contextlib.suppress(asyncpg.PostgresError):
                    await reader.execute(f"BEGIN READ WRITE; {write}; COMMIT")
                with contextlib.suppress(asyncpg.PostgresError):
                    await reader.execute("ROLLBACK")
        assert await vault_of_gold.administer(STATE) == before
    finally:
        await vault_of_gold.script(
            "DROP OWNED BY reader; DROP ROLE reader;"
            "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC;"
            "GRANT EXECUTE ON FUNCTION lo_creat(int), lo_create(oid), lo_from_bytea(oid, bytea)"
            " TO PUBLIC"
        )


async def test_read_only_risks_are_a_field_of_the_connection(ada: Client, target: Target) -> None:
    saved = await make_connection_to(ada, target)
    document = "query($id: ID!) { connection(id: $id) { readOnlyRisks { kind name } } }"
    assert await ada.ask(document, id=saved) == {"connection": {"readOnlyRisks": []}}
    async with given(target, "programs"):
        assert await ada.ask(document, id=saved) == {
            "connection": {
                "readOnlyRisks": [{"kind": "SERVER_PROGRAMS", "name": "pg_execute_server_program"}]
            }
        }
