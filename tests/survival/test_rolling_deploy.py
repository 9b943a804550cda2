"""A replica with the previous release works after a newer one has migrated the database."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from db.postgres.engine import Database
from db.postgres.schema import migrations
from tests.fixtures.served import Served, served
from tests.graph.commands.test_cli import howdah

NEWER = "9001"
MIGRATION = f"""
import sqlalchemy as sa

from alembic import op

revision = "{NEWER}"
down_revision = "{migrations.head()}"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("colour", sa.Text()))


def downgrade() -> None:
    op.drop_column("tasks", "colour")
"""


@pytest.fixture
def migrate_further(
    committed_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Awaitable[None]]:
    """Simulates the start of a newer Howdah, which has one more migration."""
    folder = tmp_path / "alembic"
    shutil.copytree(migrations.folder(), folder)
    (folder / "versions" / f"{NEWER}_colours.py").write_text(MIGRATION, encoding="utf-8")

    async def migrate() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "folder", lambda: folder)
            await migrations.upgrade(committed_url)

    return migrate


def findings(health: dict[str, dict[str, list[str]]]) -> list[str]:
    return health["health"]["findings"]


async def works(server: Served) -> None:
    ready = await server.http.get(server.address.replace("/graphql", "/readyz"))
    assert (ready.status_code, ready.text) == (200, "ready\n")
    await server.ask('mutation { createTask(input: {title: "Go on"}) { task { id } } }')
    assert (await server.ask("{ health { status } }")) == {"health": {"status": "OK"}}


async def test_older_replica_continues_and_restarts(
    committed_url: str, tmp_path: Path, migrate_further: Callable[[], Awaitable[None]]
) -> None:
    ours = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url}
    asked = "{ health { findings database { migrationsCurrent } } }"
    async with served(tmp_path / "older", **ours) as older:
        assert findings(await older.ask(asked)) == []
        await migrate_further()
        await works(older)
        received = await older.ask(asked)
    assert received["health"]["database"] == {"migrationsCurrent": True}
    (words,) = findings(received)
    assert f"A newer Howdah migrated the database to {NEWER}" in words
    async with served(tmp_path / "older", **ours) as again:
        await works(again)


async def test_older_commands_refuse_newer_database(
    committed_url: str, tmp_path: Path, migrate_further: Callable[[], Awaitable[None]]
) -> None:
    await migrate_further()
    ours = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url}
    folder = ("--data-dir", str(tmp_path / "data"))
    for arguments in (["migrate"], ["migrate", "--check"]):
        code, output, _ = await howdah(*arguments, *folder, **ours)
        assert code == 0
        assert f"A newer Howdah migrated the database to {NEWER}" in output
    refused = await howdah("migrate", "--down", "0001", *folder, **ours)
    assert refused.code == 1
    assert "newer" in refused.errors
    assert "Traceback" not in refused.errors
    examined = await howdah("doctor", *folder, **ours)
    assert examined.code == 0
    assert f"migrated the database to {NEWER}" in examined.output


async def test_restore_refuses_newer_database(
    committed_url: str, tmp_path: Path, migrate_further: Callable[[], Awaitable[None]]
) -> None:
    ours = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url}
    arguments = (str(tmp_path / "backup"), "--data-dir", str(tmp_path / "data"))
    assert (await howdah("backup", *arguments, **ours)).code == 0
    await migrate_further()
    refused = await howdah("restore", *arguments, **ours)
    assert refused.code == 1
    assert f"was migrated to {NEWER} by a newer Howdah" in refused.errors


async def test_outdated_database_is_not_current(committed: Database) -> None:
    async with committed.read() as session:
        assert migrations.is_newer(await migrations.present(session)) is False
        assert await migrations.is_current(session)
    for older in (None, *migrations.revisions()):
        assert not migrations.is_newer(older)
