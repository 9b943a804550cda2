"""Howdah's own database is no target, whatever address leads to it."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from db.connections import parse_draft
from db.errors import Forbidden
from db.kit.base import OwnerId
from db.own_database import OwnDatabase
from db.postgres.engine import Database, open_database
from db.postgres.own_cluster import OwnCluster
from db.postgres.route.urls import DatabaseUrl, parse_url
from db.security.vault import Vault
from db.services import _targets
from db.settings import Settings
from db.workbench import ProbeResult, Reach, Targets, Workbench
from tests.fixtures.workbench import ConnectionSaver


@contextlib.asynccontextmanager
async def forwarded(to: DatabaseUrl) -> AsyncIterator[int]:
    """A port that leads to the database, as a pooler or a proxy does."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond = await asyncio.open_connection(to.host, to.port)
        await asyncio.gather(copy(reader, beyond[1]), copy(beyond[0], writer))

    async with await asyncio.start_server(met, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def probe(
    database: Database, vault: Vault, owner: OwnerId, own: Database | None, fields: dict[str, Any]
) -> ProbeResult:
    targets = Targets(Reach(private=True), own_cluster=OwnCluster(own) if own else None)
    async with Workbench.opened(database, vault, targets) as workbench:
        return await workbench.probe(owner, await parse_draft(fields))


def fields_to(url: str, port: int) -> dict[str, Any]:
    own = parse_url(url)
    return {
        "host": "localhost",
        "port": port,
        "database": own.database,
        "username": own.user,
        "password": unquote(urlsplit(url).password or ""),
    }


async def test_own_database_is_refused_behind_another_address(
    committed: Database, committed_url: str, committed_owner: OwnerId, vault: Vault
) -> None:
    async with forwarded(parse_url(committed_url)) as port:
        fields = fields_to(committed_url, port)
        refused = await probe(committed, vault, committed_owner, committed, fields)
        reached = await probe(committed, vault, committed_owner, None, fields)
    assert reached.problem is None
    assert refused.problem is not None
    assert (refused.problem.code, refused.problem.field) == ("FORBIDDEN", "host")


async def test_own_database_is_refused_where_its_identifier_is_hidden(
    committed: Database, committed_url: str, committed_owner: OwnerId, vault: Vault
) -> None:
    role, password = f"role_{secrets.token_hex(4)}", secrets.token_hex(8)
    connection = await asyncpg.connect(committed_url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        await connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        place = parse_url(committed_url)
        url = f"postgresql://{role}:{password}@{place.place}/{place.database}"
        own = await open_database(url, pool_size=2)
        try:
            assert (await OwnCluster(own).identity()).system is None
            async with forwarded(place) as port:
                fields = fields_to(url, port)
                refused = await probe(committed, vault, committed_owner, own, fields)
        finally:
            await own.close()
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()
    assert refused.problem is not None
    assert refused.problem.code == "FORBIDDEN"


async def test_other_database_is_allowed(
    database: Database, vault: Vault, owner: OwnerId, saver: ConnectionSaver
) -> None:
    fields = {name: value for name, value in saver.usual.items() if name != "name"}
    assert (await probe(database, vault, owner, database, fields)).problem is None


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql:///howdah?host=/var/run/postgresql", 5432),
        ("postgresql:///howdah?host=/tmp&port=5999", 5999),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/howdah", 5432),
        ("postgresql://203.0.113.1:5432,127.0.0.1:5999/howdah", 5999),
        ("postgresql://u@/howdah", 5432),
    ],
)
async def test_every_address_of_the_own_url_is_refused(
    database: Database, url: str, port: int
) -> None:
    own = OwnDatabase(database=database, direct_url=url, embedded=None)
    targets = _targets(Settings(database_url=url, targets="private"), own)
    try:
        with pytest.raises(Forbidden):
            await targets.resolve("127.0.0.1", port)
        assert await targets.resolve("127.0.0.1", 5433)
    finally:
        targets.close()
