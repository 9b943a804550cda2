import asyncio
import base64
import shutil
from pathlib import Path

import pytest

from db.audit import AuditFilter, begin_stream, newest_events
from db.errors import BadInput, Conflict
from db.kit.audit import AuditKind, record_alone
from db.kit.base import OwnerId
from db.own_database import migrate, open_own_database
from db.postgres.engine import Database, open_database
from db.settings import Settings
from db.tasks import Tasks
from graph.commands.database.backup import restore_backup, write_backup
from tests.fixtures.people import add_person


async def fill(database: Database) -> OwnerId:
    owner = await add_person(database, "Ada")
    await database.write(lambda session: Tasks(session, owner).create(title="Feed"))
    return owner


async def total(database: Database, owner: OwnerId) -> int:
    async with database.read() as session:
        return (await Tasks(session, owner).stats()).total


async def audited(database: Database) -> list[str]:
    """The kinds of the events, newest first; those of commands name their operator."""
    async with database.read() as session:
        events = await newest_events(session, AuditFilter(), limit=10)
    assert all('"operator":"' in event.details for event in events if "BACKUP" in event.kind)
    return [event.kind for event in events]


async def test_backup_of_running_server_is_restored_into_new_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Settings(data_dir=tmp_path / "old")
    new = Settings(data_dir=tmp_path / "new")
    file = tmp_path / "b.howdah"
    async with open_own_database(old) as running:
        await migrate(running)
        owner = await fill(running.database)
        await record_alone(running.database, AuditKind.SIGN_IN)
        await begin_stream(running.database)  # its position is of this cluster
        await asyncio.to_thread(write_backup, old, file)
        said = capsys.readouterr().out
        assert "protect it like the database" in said
        with pytest.raises(Conflict, match="not empty"):
            await asyncio.to_thread(restore_backup, old, file)
    with pytest.raises(BadInput, match="signed by another installation"):
        await asyncio.to_thread(restore_backup, new, file)
    assert not (new.data_dir / "credential_key").exists()
    shutil.copy(old.data_dir / "credential_key", new.data_dir / "credential_key")
    await asyncio.to_thread(restore_backup, new, file)
    assert "counts and checksums match the backup" in capsys.readouterr().out
    async with open_own_database(new) as restored:
        assert await total(restored.database, owner) == 1
        assert await audited(restored.database) == ["BACKUP_RESTORED", "SIGN_IN"]
    async with open_own_database(old) as running:
        assert await audited(running.database) == ["BACKUP_WRITTEN", "SIGN_IN"]


async def test_backup_moves_between_external_and_embedded_database(
    committed: Database, committed_url: str, empty_url: str, tmp_path: Path
) -> None:
    owner = await fill(committed)
    key = f"k1:{base64.b64encode(bytes(range(32))).decode()}"
    given = Settings(database_url=committed_url, data_dir=tmp_path, credential_key=key)
    embedded = Settings(data_dir=tmp_path / "embedded", credential_key=key)
    other = Settings(database_url=empty_url, data_dir=tmp_path, credential_key=key)
    for source, target, name in ((given, embedded, "there"), (embedded, other, "back")):
        await asyncio.to_thread(write_backup, source, tmp_path / name)
        await asyncio.to_thread(restore_backup, target, tmp_path / name)
    database = await open_database(empty_url, pool_size=2)
    assert await total(database, owner) == 1
    await database.close()
