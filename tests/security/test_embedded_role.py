"""The role with which the application uses the embedded PostgreSQL is no superuser."""

from pathlib import Path

import asyncpg
import pytest

from db.postgres.embedded.cluster import APPLICATION, NAME
from db.postgres.engine import open_database
from db.postgres.schema import migrations
from db.system.integrity import check
from tests.fixtures.cluster import open_fast
from tests.fixtures.connected import connected
from tests.fixtures.patience import patience

ATTACKS = (
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('/etc/hostname')",
    "CREATE ROLE more SUPERUSER",
    "CREATE EXTENSION file_fdw",
    "ALTER SYSTEM SET archive_command = 'true'",
    f"SET ROLE {NAME}",
)


async def test_application_role_cannot_leave_its_database(tmp_path: Path) -> None:
    async with (
        await open_fast(tmp_path / "data") as server,
        connected(server.url) as connection,
    ):
        assert await connection.fetchval("SELECT current_user") == APPLICATION
        for attack in ATTACKS:
            with pytest.raises(asyncpg.PostgresError) as caught:
                await connection.execute(attack)
            assert caught.value.sqlstate == "42501", attack


async def test_application_role_may_migrate_and_check_its_database(tmp_path: Path) -> None:
    async with await open_fast(tmp_path / "data") as server:
        await migrations.upgrade(server.url)
        database = await open_database(server.url, pool_size=2)
        try:
            async with patience():
                found = await check(database)
        finally:
            await database.close()
    assert (found.damages, found.notes) == ((), ())
