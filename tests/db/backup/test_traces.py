"""What a server that was only started has written stands in no restore's way."""

import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from db.audit import AuditEventRow, begin_stream, write_next
from db.errors import Conflict
from db.kit.audit import AuditKind, record_alone
from db.kit.base import OwnerId
from db.objects.store import ObjectStore
from db.postgres.engine import Database, open_database
from db.postgres.schema import migrations
from db.services import Services
from db.users import LOCAL_ADMIN
from db.users.acts import record_failed_sign_in
from db.users.attempt_counts import Attempts, Limit
from tests.db.backup.test_backup import create, everything_of
from tests.fixtures.connected import rows
from tests.fixtures.patience import patience
from tests.fixtures.people import add_person
from tests.fixtures.replicas import OpenReplica
from tests.fixtures.signed_backups import backup, restore

EVENTS = "SELECT kind, outcome FROM audit_events ORDER BY created_at"


@pytest.fixture
async def used_url(committed: Database, committed_url: str) -> str:
    """A database with a user, their task and an event."""
    await create(committed, await add_person(committed, "Ada"), "feed the elephant")
    await record_alone(committed, AuditKind.PASSWORD_CHANGED)
    return committed_url


async def sign_in_once(services: Services) -> OwnerId:
    """The local admin signs in, and a stranger tries to."""
    admin = await services.identity.local_admin()
    await services.identity.issue(admin)
    await record_failed_sign_in(services.database, "ann@example.com", None, digest="d")
    limits = {b"of an address": Limit(1, timedelta(hours=1))}
    await services.database.write(lambda session: Attempts(session).count(limits))
    return OwnerId(admin.id)


async def test_restore_replaces_what_a_started_server_has_written(
    folder: ObjectStore,
    used_url: str,
    target_url: str,
    open_replica: OpenReplica,
    tmp_path: Path,
) -> None:
    """Events stay beside those of the backup. The server, if it still runs, goes on."""
    made = await backup(used_url, tmp_path / "b.howdah", objects=folder)
    async with open_replica(database_url=target_url) as replica:
        await sign_in_once(replica.services)
        heartbeat = replica.services.runner.heartbeat
        number, installation = heartbeat.process, heartbeat.installation_id
        await restore(target_url, tmp_path / "b.howdah", objects=folder)
        await heartbeat.beat()
        assert heartbeat.process == number
        assert await rows(target_url, "SELECT id FROM installation") == [(installation,)]
    for table in made.tables:
        everything = everything_of(table.name)
        if table.name != "audit_events":
            assert await rows(target_url, everything) == await rows(used_url, everything)
    assert await rows(target_url, EVENTS) == [
        ("PASSWORD_CHANGED", "SUCCEEDED"),
        ("USER_CREATED", "SUCCEEDED"),
        ("SIGN_IN", "SUCCEEDED"),
        ("SIGN_IN", "FAILED"),
    ]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await rows(target_url, "DELETE FROM audit_events")


async def test_restore_keeps_what_the_local_admin_has_made(
    folder: ObjectStore,
    used_url: str,
    target_url: str,
    open_replica: OpenReplica,
    tmp_path: Path,
) -> None:
    await backup(used_url, tmp_path / "b.howdah", objects=folder)
    async with open_replica(database_url=target_url) as replica:
        admin = await sign_in_once(replica.services)
        await create(replica.services.database, admin, "mine")
    with pytest.raises(Conflict, match="table tasks has rows"):
        await restore(target_url, tmp_path / "b.howdah", objects=folder)
    assert await rows(target_url, "SELECT email, title FROM users, tasks") == [
        (LOCAL_ADMIN, "mine")
    ]


async def test_restore_of_an_earlier_release_is_refused_while_servers_run(
    folder: ObjectStore,
    committed_url: str,
    target_url: str,
    open_replica: OpenReplica,
    tmp_path: Path,
) -> None:
    await migrations.downgrade(committed_url, "-1")
    await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    async with open_replica(database_url=target_url):
        with pytest.raises(Conflict, match=f"served by {socket.gethostname()}") as caught:
            await restore(target_url, tmp_path / "b.howdah", objects=folder)
        assert "Stop all servers" in caught.value.hint
        revision = await rows(target_url, "SELECT version_num FROM alembic_version")
        assert revision == [(migrations.head(),)]
    await restore(target_url, tmp_path / "b.howdah", objects=folder)


async def test_restore_during_which_a_server_migrates_is_refused(
    folder: ObjectStore,
    committed_url: str,
    target_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await migrations.downgrade(committed_url, "-1")
    await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    downgrade = migrations.downgrade

    async def start_a_server_after(url: str, revision: str) -> None:
        await downgrade(url, revision)
        await migrations.upgrade(url)

    monkeypatch.setattr(migrations, "downgrade", start_a_server_after)
    with pytest.raises(Conflict, match="started meanwhile"):
        await restore(target_url, tmp_path / "b.howdah", objects=folder)


async def test_restore_of_a_backup_without_an_audit_log_deletes_no_event(
    folder: ObjectStore, committed_url: str, target_url: str, tmp_path: Path
) -> None:
    await migrations.downgrade(committed_url, "0010")
    await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    target = await open_database(target_url, pool_size=2)
    await record_alone(target, AuditKind.KEYS_ROTATED)
    await target.close()
    with pytest.raises(Conflict, match="table audit_events has rows"):
        await restore(target_url, tmp_path / "b.howdah", objects=folder)
    assert await rows(target_url, EVENTS) == [("KEYS_ROTATED", "SUCCEEDED")]


async def test_restored_events_are_not_in_the_stream(
    folder: ObjectStore, committed: Database, used_url: str, target_url: str, tmp_path: Path
) -> None:
    """Their positions come after that of the stream, which has begun already."""
    target = await open_database(target_url, pool_size=2)
    await begin_stream(target)
    await record_alone(target, AuditKind.KEYS_ROTATED)
    await record_alone(committed, AuditKind.PASSWORD_RESET)
    await backup(used_url, tmp_path / "b.howdah", objects=folder)
    await restore(target_url, tmp_path / "b.howdah", objects=folder)
    await record_alone(target, AuditKind.DATABASE_CHECKED)
    written: list[str] = []

    async def write(events: Sequence[AuditEventRow]) -> None:
        written.extend(event.kind for event in events)

    async with patience():  # until the transactions of other tests have ended
        while "DATABASE_CHECKED" not in written:
            await write_next(target, write)
    await target.close()
    assert written == ["KEYS_ROTATED", "DATABASE_CHECKED"]
