import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from db.errors import Conflict
from db.postgres.engine import Database, open_database
from db.postgres.schema import migrations
from db.system.integrity import Check, Checks, Damage, _save, check
from tests.fixtures.cluster import Cluster, open_fast, query
from tests.fixtures.connected import connected

PEOPLE = """
    INSERT INTO users (id, email, name)
    SELECT gen_random_uuid(), 'person' || n || '@example.com', 'Person ' || n
    FROM generate_series(1, 2000) n
"""
PAGE = 8_192


@pytest.fixture(scope="module")
async def peopled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The folder of a closed server whose database has two thousand people."""
    folder = tmp_path_factory.mktemp("peopled")
    async with await open_fast(folder) as server:
        await migrations.upgrade(server.url)
        await query(server, PEOPLE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(peopled: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(peopled, tmp_path / "copy"))


async def path_of(folder: Path, relation: str) -> Path:
    async with await open_fast(folder) as server:
        return (
            folder
            / "cluster"
            / str(await query(server, f"SELECT pg_relation_filepath('{relation}')"))
        )


def overwrite(path: Path, *, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE + 100)
        file.write(b"\xa5" * 500)


async def test_check_finds_no_damage_in_an_intact_database(committed: Database) -> None:
    checks = Checks()
    before = await checks.state(committed)
    assert before.last_checked_at is None
    assert any("Not checked" in finding for finding in before.findings)
    await checks.run(committed)
    after = await checks.state(committed)
    assert (after.ok, after.checksums, after.corrupt_relations) == (True, True, [])
    assert after.findings == []
    assert after.last_checked_at is not None
    assert after.size_bytes > 1_000_000


@pytest.mark.parametrize("relation", ["users", "uq_users_email", "pg_depend_reference_index"])
async def test_check_names_the_relation_of_a_damaged_page(folder: Path, relation: str) -> None:
    overwrite(await path_of(folder, relation), page=1)
    async with await open_fast(folder) as server:
        database = await open_database(server.url)
        checks = Checks()
        await checks.run(database)
        state = await checks.state(database)
        await database.close()
    assert not state.ok
    assert relation in state.corrupt_relations
    assert any(finding.startswith(f"{relation}: ") for finding in state.findings)


@pytest.mark.parametrize("installed", [False, True])
async def test_check_reports_missing_privileges_for_amcheck(
    cluster: Cluster, committed_url: str, *, installed: bool
) -> None:
    owner = await asyncpg.connect(committed_url)
    await owner.execute("DROP ROLE IF EXISTS tenant")
    await owner.execute("CREATE ROLE tenant LOGIN PASSWORD 'tenant' IN ROLE pg_read_all_data")
    if installed:
        await owner.execute("CREATE EXTENSION amcheck")
    await owner.close()
    place = committed_url.partition("@")[2]
    database = await open_database(f"postgresql://tenant:tenant@{place}")
    found = await check(database)
    await database.close()
    async with connected(committed_url) as owner:
        await owner.execute("DROP ROLE tenant")
    assert found.damages == ()
    (note,) = found.notes
    assert "not checked" in note or "Not all relations were checked" in note


async def test_check_runs_once_at_a_time(committed: Database) -> None:
    checks = Checks()
    outcomes = await asyncio.gather(
        *(checks.run(committed) for _ in range(3)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, Conflict]
    assert await checks.last(committed) is not None


async def test_check_result_is_known_to_other_processes(committed: Database) -> None:
    await Checks().run(committed)
    ours = Checks()
    first = await ours.last(committed)
    assert first is not None
    await Checks().run(committed)  # by another one
    second = await ours.last(committed)
    assert second is not None
    assert second.checked_at > first.checked_at
    state = await Checks().state(committed)
    assert state.last_checked_at == second.checked_at
    assert state.findings == []


async def test_check_result_does_not_replace_a_newer_one(committed: Database) -> None:
    late = Check(datetime(2027, 1, 2, tzinfo=UTC), (Damage("tasks", "block 1: torn"),), ("x",))
    early = late._replace(checked_at=datetime(2027, 1, 1, tzinfo=UTC), damages=())
    await _save(committed, late)
    await _save(committed, early)
    assert await Checks().last(committed) == late


async def test_check_result_is_reported_if_it_cannot_be_saved(
    committed: Database, committed_url: str
) -> None:
    async with connected(committed_url) as connection:
        await connection.execute("DROP TABLE database_checks")
    checks = Checks()
    assert (await checks.state(committed)).last_checked_at is None
    await checks.run(committed)
    assert (await checks.state(committed)).last_checked_at is not None
