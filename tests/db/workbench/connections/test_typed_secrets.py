"""Secrets that were typed to open a connection serve every replica, and end together."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.backup.tables import open_for_copy, tables_of
from db.connections import (
    OPEN_FOR,
    TYPED_SECRETS,
    Connections,
    OpenConnections,
    parse_draft,
    rotate,
    sweep,
)
from db.connections.binding import BOUND_TO
from db.errors import BadInput, HowdahError, Unavailable
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change, compile_statement
from db.security.keys import CredentialKeys
from db.security.vault import Vault
from db.users.unscoped.directory import UserChanges
from db.workbench import Reach, SavedConnections, Targets, Workbench
from tests.fixtures.bastion import PASSWORD as SSH_PASSWORD
from tests.fixtures.bastion import SshServer
from tests.fixtures.collectors import Collector
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import (
    KEYS,
    ConnectionSaver,
    OpenWorkbench,
    active_ids,
    answers,
    one,
    until,
    until_no_guests,
)

NO_PASSWORD = "requires a password"
_SEALS = compile_statement(
    text("SELECT sealed_password, sealed_ssh_password FROM open_connections"), unscoped=True
)
_IS_WAITING = compile_statement(
    text(
        "SELECT true FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1"
    )
)
_AGE = compile_change(text("UPDATE open_connections SET expires_at = expires_at - :by ::interval"))


async def refuses(workbench: Workbench, owner: OwnerId, connection_id: UUID) -> None:
    with pytest.raises(BadInput, match=NO_PASSWORD):
        await answers(workbench, owner, connection_id)


async def seals(database: Database) -> list[Any]:
    """Those in the whole database, of every connection."""
    async with database.read() as session:
        rows = await session.rows(_SEALS)
    return [seal for row in rows for seal in row if seal is not None]


async def until_recorded(workbench: Workbench) -> None:
    """A pool records its first connection in the background, which extends what counts as open."""

    async def is_recorded() -> bool:
        running = {task.get_coro() for task in workbench._pools._tasks}
        return not any("_record_open_later" in repr(work) for work in running)

    await until(is_recorded)


async def test_typed_password_serves_every_replica_until_disconnect(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as first, open_workbench() as second:
        await refuses(second, committed_owner, saved)  # its pool has to take up the password later
        opened = await first.connect(committed_owner, saved, {"password": CANARY})
        assert await answers(second, committed_owner, saved)
        (seen,) = await second.active(committed_owner)
        assert (seen.server_version, seen.tls) == (opened.server_version, opened.tls)
        (seal,) = await seals(committed)
        assert CANARY.encode() not in seal
        await second.disconnect(committed_owner, saved)
        for workbench in (first, second):
            await refuses(workbench, committed_owner, saved)
            assert await workbench.active(committed_owner) == []
        assert await seals(committed) == []
    async with open_workbench() as third:
        await refuses(third, committed_owner, saved)


async def test_typed_password_outlives_the_process_that_received_it(
    open_workbench: OpenWorkbench, committed_saver: ConnectionSaver, committed_owner: OwnerId
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as first:
        await first.connect(committed_owner, saved, {"password": CANARY})
    async with open_workbench() as second:
        assert await active_ids(second, committed_owner) == [saved]
        assert (await second.active(committed_owner))[0].pool_size == 0
        assert await answers(second, committed_owner, saved)


async def test_wrong_typed_password_leaves_everything_as_it_was(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as first, open_workbench() as second:
        with pytest.raises(BadInput, match="refused"):
            await first.connect(committed_owner, saved, {"password": "wrong"})
        assert await seals(committed) == []
        await refuses(second, committed_owner, saved)
        await first.connect(committed_owner, saved, {"password": CANARY})
        before = await seals(committed)
        with pytest.raises(BadInput, match="refused"):
            await second.connect(committed_owner, saved, {"password": "wrong"})
        assert await seals(committed) == before
        assert await answers(first, committed_owner, saved)
        assert await answers(second, committed_owner, saved)


async def test_same_password_typed_again_keeps_pools_and_renews_expiry(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as first, open_workbench() as second:
        await first.connect(committed_owner, saved, {"password": CANARY})
        async with first.lend(committed_owner, saved) as held:
            backend = held.info.backend_pid
        await committed.write(lambda session: session.rows(_AGE, by=timedelta(hours=11)))
        await second.connect(committed_owner, saved, {"password": CANARY})
        async with first.lend(committed_owner, saved) as held:
            assert held.info.backend_pid == backend
        async with committed.read() as session:
            kept = await OpenConnections(session, committed_owner).typed_seals(saved)
        assert kept is not None
        assert kept.left_s > OPEN_FOR.total_seconds() - 60


async def test_suspension_deletes_typed_password_and_resumption_does_not_return_it(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)

    async def suspend(*, suspended: bool) -> None:
        await committed.transaction(
            lambda session: UserChanges(session).change(
                committed_owner, role=None, suspended=suspended
            )
        )

    async with open_workbench() as workbench:
        await workbench.connect(committed_owner, saved, {"password": CANARY})
        async with workbench.lend(committed_owner, saved) as connection:
            await suspend(suspended=True)
            assert await seals(committed) == []
            assert await one(connection, "SELECT true")  # runs that are executing continue
        await suspend(suspended=False)
        await refuses(workbench, committed_owner, saved)


async def test_typed_password_expires_at_every_replica_and_is_swept(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
    target: Target,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench(idle_s=0.2) as first, open_workbench(idle_s=0.2) as second:
        await first.connect(committed_owner, saved, {"password": CANARY})
        left = timedelta(hours=1)
        await committed.write(lambda session: session.rows(_AGE, by=OPEN_FOR - left))
        async with second.lend(committed_owner, saved) as held:
            assert await one(held, "SELECT true")
            await until_recorded(second)
            now = asyncio.get_running_loop().time()
            (pool,) = second._pools._living
            assert now < pool.expires_at < now + left.total_seconds()
            pool.expires_at = now
            await committed.write(lambda session: session.rows(_AGE, by=left))

            async def refused() -> bool:
                with contextlib.suppress(BadInput):
                    return not await answers(second, committed_owner, saved)
                return True

            await until(refused)
            assert await one(held, "SELECT true")  # a statement that runs may end

        async def closed() -> bool:
            return await active_ids(second, committed_owner) == []

        await until(closed)
        assert len(await seals(committed)) == 1
        assert await committed.write(sweep) == 1
        assert await seals(committed) == []
        await until_no_guests(target)


ELSEWHERE: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 1,
    "username": "eve",
    "ssl_mode": "DISABLE",
    "ssl_root_certificate": "another",
    "ssh_host": "bastion.example.com",
    "ssh_port": 22,
    "ssh_username": "eve",
    "ssh_host_key_fingerprint": "SHA256:another",
}


async def test_typed_password_does_not_open_for_another_destination(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    """Even if the row was changed by other means than `saveConnection`."""
    saved = await committed_saver.save(password=None)
    async with open_workbench() as workbench:
        await workbench.connect(committed_owner, saved, {"password": CANARY})
        row = await workbench._require_row(committed_owner, saved)
        async with committed.read() as session:
            kept = await OpenConnections(session, committed_owner).typed_seals(saved)
        opens = workbench._credentials._open_typed
        assert await opens(committed_owner, row, kept) == {"password": CANARY}
        for column in BOUND_TO["password"]:
            assert (
                await opens(committed_owner, row._replace(**{column: ELSEWHERE[column]}), kept)
                == {}
            )


async def test_typed_password_is_deleted_with_the_destination_it_was_typed_for(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    vault: Vault,
    committed: Database,
    collector: Collector,
    target: Target,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as first, open_workbench() as second:
        change = SavedConnections(committed, vault, first).change
        await second.connect(committed_owner, saved, {"password": CANARY})
        await change(committed_owner, saved, {"name": "Renamed"})
        assert await answers(first, committed_owner, saved)
        assert await active_ids(second, committed_owner) == [saved]
        await change(committed_owner, saved, {"port": collector.port})
        assert await seals(committed) == []
        for workbench in (first, second):
            with pytest.raises(HowdahError):
                await answers(workbench, committed_owner, saved)
            assert await active_ids(workbench, committed_owner) == []
        assert collector.passwords == []
        await change(committed_owner, saved, {"port": target.port})
        await refuses(second, committed_owner, saved)


async def test_late_record_does_not_reopen_a_changed_destination(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    """A pool records its first connection in the background, so a change may come before."""
    saved = await committed_saver.save()
    async with open_workbench() as workbench:
        row = await workbench._require_row(committed_owner, saved)

        async def record(session: Session) -> None:
            opened = OpenConnections(session, committed_owner)
            await opened.record(row, server_version="17", tls=None)

        async def is_waiting() -> bool:
            async with committed.read() as session:
                return bool(await session.value(_IS_WAITING))

        async def change(session: Session) -> asyncio.Task[None]:
            draft = await parse_draft({"database": "other"})
            await Connections(session, committed_owner).change(row, draft, {}, agent=False)
            late = asyncio.create_task(committed.write(record))
            await until(is_waiting)
            return late

        await (await committed.transaction(change))
        assert await active_ids(workbench, committed_owner) == []
        row = await workbench._require_row(committed_owner, saved)
        await committed.write(record)
        assert await active_ids(workbench, committed_owner) == [saved]


async def test_saved_password_replaces_typed_one(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    vault: Vault,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as workbench:
        await workbench.connect(committed_owner, saved, {"password": CANARY})
        saved_connections = SavedConnections(committed, vault, workbench)
        await saved_connections.change(committed_owner, saved, {"password": "wrong"})
        assert await seals(committed) == []
        with pytest.raises(BadInput, match="refused"):
            await answers(workbench, committed_owner, saved)


async def test_close_during_connect_discards_the_typed_password(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as first, open_workbench() as second:
        row = await first._require_row(committed_owner, saved)
        await second.disconnect(committed_owner, saved)
        with pytest.raises(Unavailable, match="closed"):
            await first._credentials.store_typed(
                committed_owner, row, {"password": CANARY}, server_version="17", tls=None
            )
        assert await seals(committed) == []


async def test_tunnel_with_typed_password_opens_at_every_open_workbench(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    ssh_server: SshServer,
    committed: Database,
) -> None:
    tunnel = {
        "host": "localhost",
        "port": ssh_server.port,
        "username": "ada",
        "auth_method": "PASSWORD",
        "host_key_fingerprint": ssh_server.fingerprint,
    }
    saved = await committed_saver.save(password=None, ssh_tunnel=tunnel)
    async with open_workbench() as first, open_workbench() as second:
        await first.connect(
            committed_owner, saved, {"password": CANARY, "ssh_password": SSH_PASSWORD}
        )
        assert await answers(second, committed_owner, saved)
        assert len(await seals(committed)) == len(TYPED_SECRETS)


async def test_backup_leaves_typed_secrets_out(committed_url: str) -> None:
    async with open_for_copy(committed_url, "test") as connection:
        names = {table.name for table in await tables_of(connection)}
    assert "database_connections" in names
    assert "open_connections" not in names


async def test_keys_rotation_seals_typed_secrets_again(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
) -> None:
    saved = await committed_saver.save(password=None)
    newer = CredentialKeys("k2", {**KEYS.keys, "k2": bytes(range(1, 33))})
    async with open_workbench() as workbench:
        await workbench.connect(committed_owner, saved, {"password": CANARY})
        before = await seals(committed)
        rotation = await rotate(committed, Vault(newer))
        assert (rotation.resealed, rotation.unreadable) == (1, [])
        assert await seals(committed) != before
    only_new = Vault(CredentialKeys("k2", {"k2": newer.current}))
    targets = Targets(Reach(private=True))
    async with Workbench.opened(committed, only_new, targets) as workbench:
        assert await answers(workbench, committed_owner, saved)
