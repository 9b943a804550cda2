import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from db.errors import BadInput, Conflict, HowdahError, Unavailable
from db.kit.base import OwnerId
from db.kit.lists.paging import SortOrder, Window
from db.objects.store import ObjectStore
from db.postgres.engine import Database, open_database
from db.postgres.schema import migrations
from db.postgres.statements import compile_statement
from db.tasks import TaskFilter, TaskRow, Tasks
from tests.fixtures.cluster import Cluster, open_fast
from tests.fixtures.connected import rows
from tests.fixtures.people import add_person
from tests.fixtures.signed_backups import backup, restore, rewritten

TASKS = "SELECT * FROM tasks ORDER BY id"
HARD = [
    ("plain", None),
    ("tab\tand \\ and \\N and \\.", "a\nb\r\nc"),
    ("quotes '\" $1 {}", "é 🥣 \u2028"),
]


@pytest.fixture
async def filled_url(committed: Database, committed_url: str) -> str:
    for name in ("Ada", "Bob"):
        owner = await add_person(committed, name)
        for title, description in HARD:
            await create(committed, owner, title, description)
    return committed_url


async def create(
    database: Database, owner: OwnerId, title: str, description: str | None = None
) -> TaskRow:
    row: TaskRow = await database.write(
        lambda session: Tasks(session, owner).create(title=title, description=description)
    )
    return row


def everything_of(table: str) -> str:
    """All rows, but for the places of events in the stream of one cluster."""
    row = "to_jsonb(t) - 'position'" if table == "audit_events" else "t"
    return f"SELECT ({row})::text FROM {table} t ORDER BY 1"  # noqa: S608 - names of the manifest


async def test_restore_restores_every_row(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path
) -> None:
    made = await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    counts = {table.name: table.rows for table in made.tables}
    assert (counts["users"], counts["tasks"]) == (2, 6)
    assert await restore(target_url, tmp_path / "b.howdah", objects=folder) == made
    for table in counts:
        everything = everything_of(table)
        assert await rows(target_url, everything) == await rows(filled_url, everything)
    assert [row[2] for row in await rows(target_url, TASKS)][:3] == [title for title, _ in HARD]


async def test_restored_database_serves(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path
) -> None:
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    database = await open_database(target_url, pool_size=2)
    async with database.read() as session:
        assert await migrations.is_current(session)
    owner = OwnerId((await rows(target_url, "SELECT id FROM users ORDER BY id LIMIT 1"))[0][0])
    await create(database, owner, "after")
    async with database.read() as session:
        page = await Tasks(session, owner).page(
            Window(9), TaskFilter(search="PLAIN"), SortOrder("created_at")
        )
    assert [row.title for row in page.rows] == ["plain"]
    await database.close()


async def test_restore_disables_triggers_temporarily(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path
) -> None:
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    connection = await asyncpg.connect(target_url)
    await connection.execute(
        """
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$;
        CREATE TRIGGER shout BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION shout()
        """
    )
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    assert await rows(target_url, TASKS) == await rows(filled_url, TASKS)
    owner = await connection.fetchval("SELECT id FROM users LIMIT 1")
    await connection.execute(
        "INSERT INTO tasks (id, owner_id, title) VALUES (gen_random_uuid(), $1, 'loud')", owner
    )
    assert await connection.fetchval("SELECT count(*) FROM tasks WHERE title = 'LOUD'") == 1
    await connection.close()


async def test_backup_file_is_private_and_overwrites_none(
    folder: ObjectStore, filled_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "b.howdah"
    await backup(filled_url, path, objects=folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(Conflict, match="already"):
        await backup(filled_url, path, objects=folder)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


async def test_backup_reports_an_unwritable_folder(
    folder: ObjectStore, filled_url: str, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        await backup(filled_url, tmp_path / "missing" / "b.howdah", objects=folder)


async def test_backup_reads_one_snapshot(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path
) -> None:
    """What commits after it began is not in it, whichever table had been read by then."""
    other = await asyncpg.connect(filled_url)
    async with other.transaction():
        await other.execute("LOCK TABLE tasks")
        making = asyncio.create_task(backup(filled_url, tmp_path / "b.howdah", objects=folder))
        while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            assert not making.done()
        await other.execute(
            """
            WITH late AS (INSERT INTO users (id, email, name)
                          VALUES (gen_random_uuid(), 'late@example.com', 'Late') RETURNING id)
            INSERT INTO tasks (id, owner_id, title) SELECT gen_random_uuid(), id, 'l' FROM late
            """
        )
        await other.execute("DELETE FROM sessions")
    await other.close()
    made = await making
    assert {table.name: table.rows for table in made.tables}["tasks"] == 6
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    assert len(await rows(target_url, TASKS)) == 6
    assert len(await rows(filled_url, TASKS)) == 7


async def test_restore_overwrites_nothing(
    folder: ObjectStore, filled_url: str, tmp_path: Path
) -> None:
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    before = await rows(filled_url, TASKS)
    with pytest.raises(Conflict, match="not empty"):
        await restore(filled_url, tmp_path / "b.howdah", objects=folder)
    assert await rows(filled_url, TASKS) == before


def manifest_with(**changes: Any) -> Callable[[str, bytes], bytes]:
    def change(name: str, data: bytes) -> bytes:
        return json.dumps(json.loads(data) | changes).encode() if "manifest" in name else data

    return change


DAMAGE: dict[str, Callable[[str, bytes], bytes | None]] = {
    "a value changed": lambda _, data: data.replace(b"plain", b"plaim"),
    "a row lost": lambda name, data: data[data.index(b"\n") + 1 :] if "tasks" in name else data,
    "a table lost": lambda name, data: None if name == "rows/tasks" else data,
    "no manifest": lambda name, data: None if "manifest" in name else data,
    "rows are no rows": lambda name, data: b"\x00\xff" if name == "rows/tasks" else data,
    "owners lost": lambda name, data: b"" if name == "rows/users" else data,
    "a manifest of nothing": manifest_with(tables=[]),
    "a hostile name": manifest_with(
        tables=[{"name": "a; DROP TABLE users", "columns": ["id"], "rows": 0, "sha256": ""}]
    ),
    "another format": manifest_with(format=2),
    "a newer revision": manifest_with(revision="9999"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_restore_of_a_damaged_file_changes_nothing(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path, damage: str
) -> None:
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    changed = rewritten(tmp_path / "b.howdah", DAMAGE[damage])
    with pytest.raises(BadInput) as caught:
        await restore(target_url, changed, objects=folder)
    assert str(changed) in caught.value.message
    assert await rows(target_url, TASKS) == await rows(target_url, "SELECT * FROM users") == []
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    assert len(await rows(target_url, TASKS)) == 6


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.9, 0.99])
async def test_restore_of_a_truncated_file_changes_nothing(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path, cut: float
) -> None:
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    whole = (tmp_path / "b.howdah").read_bytes()
    short = tmp_path / "short.howdah"
    short.write_bytes(whole[: int(cut if cut > 1 else cut * len(whole))])
    with pytest.raises(BadInput, match="damaged"):
        await restore(target_url, short, objects=folder)
    assert await rows(target_url, TASKS) == []


async def test_restore_detects_flipped_bytes(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path
) -> None:
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    whole = (tmp_path / "b.howdah").read_bytes()
    flipped = tmp_path / "flipped.howdah"
    for place in range(40, len(whole), len(whole) // 12):
        flipped.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            await restore(target_url, flipped, objects=folder)
        except HowdahError:
            assert await rows(target_url, TASKS) == []
        else:
            assert await rows(target_url, TASKS) == await rows(filled_url, TASKS)
            return


async def test_restore_reports_an_unreadable_file(
    folder: ObjectStore, target_url: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        await restore(target_url, tmp_path / "missing.howdah", objects=folder)


@pytest.mark.parametrize("migrated", [True, False])
async def test_restore_migrates_an_older_backup(
    folder: ObjectStore,
    committed_url: str,
    target_url: str,
    empty_url: str,
    tmp_path: Path,
    *,
    migrated: bool,
) -> None:
    """Made at the first revision, restored where migrations are ahead or none has run."""
    oldest = migrations.revisions()[0]
    await migrations.downgrade(committed_url, oldest)
    await rows(
        committed_url,
        "INSERT INTO users (id, email, name) VALUES (gen_random_uuid(), 'ada@example.com', 'Ada')",
    )
    made = await backup(committed_url, tmp_path / "old.howdah", objects=folder)
    assert made.revision == oldest
    url = target_url if migrated else empty_url
    await restore(url, tmp_path / "old.howdah", objects=folder)
    assert await rows(url, "SELECT name FROM users") == [("Ada",)]
    assert await rows(url, "SELECT version_num FROM alembic_version") == [(migrations.head(),)]
    assert await rows(url, TASKS) == []


async def test_restore_between_embedded_databases(folder: ObjectStore, tmp_path: Path) -> None:
    async with await open_fast(tmp_path / "one") as one:
        await migrations.upgrade(one.url)
        database = await open_database(one.url, pool_size=2)
        await create(database, await add_person(database, "Ada"), "moved")
        made = await backup(one.url, tmp_path / "b.howdah", objects=folder)
        await database.close()
    async with await open_fast(tmp_path / "two") as two:
        assert await restore(two.url, tmp_path / "b.howdah", objects=folder) == made
        assert [row[2] for row in await rows(two.url, TASKS)] == ["moved"]


async def test_backup_refuses_an_unmigrated_database(
    folder: ObjectStore, cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(Conflict, match="no data of Howdah"):
        await backup(cluster.url, tmp_path / "b.howdah", objects=folder)
    assert list(tmp_path.iterdir()) == []


async def test_database_has_no_sequences(committed: Database) -> None:
    """Ids are made by us; a sequence would have to be restored too."""
    async with committed.read() as session:
        assert await session.rows(compile_statement(text("SELECT * FROM pg_sequences"))) == []


ACTIVE = {
    "query_runs": """INSERT INTO query_runs (id, owner_id, statement, parameters, read_only,
            timeout_ms, max_rows, max_bytes, process, state)
        SELECT gen_random_uuid(), id, 'SELECT 1', '[]', false, 1, 1, 1, 1, state
        FROM users, unnest(ARRAY['QUEUED', 'RUNNING']) AS state""",
    "script_runs": """INSERT INTO script_runs (id, owner_id, owns_session, script, statement_count,
            on_error, transaction, read_only, timeout_ms, max_rows, max_bytes, actor)
        SELECT gen_random_uuid(), id, true, 'SELECT 1', 1, 'STOP', 'EACH', false, 1, 1, 1, '{}'
        FROM users""",
    "database_sessions": """INSERT INTO database_sessions (id, owner_id, name, autocommit,
            read_only, idle_timeout_ms, transaction_timeout_ms, process)
        SELECT gen_random_uuid(), id, 's', true, false, 1, 1, 1 FROM users""",
}

RECORD = """INSERT INTO installation (id, made_at, database_oid, database_name)
    VALUES (gen_random_uuid(), now(), 1, 'other') RETURNING id"""


@pytest.mark.parametrize("revision", ["0005", "0015", "head"])
async def test_restore_ends_what_was_active(
    folder: ObjectStore,
    filled_url: str,
    target_url: str,
    tmp_path: Path,
    revision: str,
) -> None:
    """A restored database is another installation: it never acts on the runs of the original."""
    for sql in ACTIVE.values():
        await rows(filled_url, sql)
    if revision != "head":
        await migrations.downgrade(filled_url, revision)
    [(installation,)] = await rows(target_url, RECORD)
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    if revision == "head":  # a downgrade dropped the table meanwhile
        assert await rows(target_url, "SELECT id FROM installation") == [(installation,)]
    states = "SELECT state, expires_at > now() + interval '29 days' FROM {}"
    assert await rows(target_url, states.format("query_runs")) == [("INTERRUPTED", True)] * 4
    if revision != "0005":
        assert await rows(target_url, states.format("script_runs")) == [("INTERRUPTED", True)] * 2
        closed = "SELECT state, close_reason FROM database_sessions"
        assert await rows(target_url, closed) == [("CLOSED", "SERVER_STOPPED")] * 2
    active = "SELECT 1 FROM query_runs WHERE state IN ('QUEUED', 'RUNNING')"
    assert len(await rows(filled_url, active)) == 4


async def test_restore_makes_all_indexes_and_keys_again(
    folder: ObjectStore, filled_url: str, target_url: str, tmp_path: Path
) -> None:
    """Also an index of the operator's own. A load into tables with indexes takes far longer."""
    await backup(filled_url, tmp_path / "b.howdah", objects=folder)
    await rows(target_url, "CREATE UNIQUE INDEX own ON tasks (lower(title), id) WHERE completed")
    definitions = """SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT conrelid::regclass || conname || pg_get_constraintdef(oid)
            || convalidated FROM pg_constraint ORDER BY 1"""
    before = await rows(target_url, definitions)
    log = await watch_drops(target_url)
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    assert await rows(target_url, definitions) == before
    assert {"own", "ix_tasks_search"} <= {name for (name,) in await rows(target_url, log)}


async def watch_drops(url: str) -> str:
    """Records the names of the indexes that are dropped; returns the query that reads them."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        """
        CREATE SCHEMA watch;
        CREATE TABLE watch.dropped (name text);
        CREATE FUNCTION watch.note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO watch.dropped SELECT object_name FROM pg_event_trigger_dropped_objects()
            WHERE object_type = 'index'; END $$;
        CREATE EVENT TRIGGER noted ON sql_drop EXECUTE FUNCTION watch.note()
        """
    )
    await connection.close()
    return "SELECT name FROM watch.dropped"
