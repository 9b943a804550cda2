import asyncio
import secrets
import sys

import asyncpg
import pytest
from sqlalchemy import text

from db.errors import Unavailable
from db.postgres.engine import Database, open_database
from db.postgres.route.urls import parse_url
from db.postgres.schema import downgrades, migrations
from db.postgres.statements import compile_statement
from tests.fixtures.connected import connected

TABLES = compile_statement(
    text(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
)


async def tables(url: str) -> set[str]:
    async with connected(url) as connection:
        return {row["relname"] for row in await connection.fetch(TABLES.sql)}


async def test_migrated_tables_equal_models(committed_url: str) -> None:
    await migrations.check(committed_url)


async def test_migrated_database_is_current(committed: Database) -> None:
    async with committed.read() as session:
        assert await migrations.is_current(session)


async def test_migrations_in_one_process_run_once(empty_url: str) -> None:
    await asyncio.gather(*(migrations.upgrade(empty_url) for _ in range(8)))
    await migrations.check(empty_url)


async def test_migrations_in_several_processes_run_once(empty_url: str) -> None:
    script = (
        "import asyncio, sys; from db.postgres.schema import migrations;"
        " asyncio.run(migrations.upgrade(sys.argv[1]))"
    )
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", script, empty_url)
        for _ in range(8)
    ]
    assert await asyncio.gather(*(process.wait() for process in started)) == [0] * 8
    await migrations.check(empty_url)


async def test_migrations_by_a_user_who_may_not_make_tables_are_explained(empty_url: str) -> None:
    """As if the database belonged to the superuser who made it."""
    role, place = f"role_{secrets.token_hex(4)}", parse_url(empty_url)
    connection = await asyncpg.connect(empty_url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'peanuts'")
        with pytest.raises(Unavailable, match="permission denied for schema public") as caught:
            await migrations.upgrade(f"postgresql://{role}:peanuts@{place.place}/{place.database}")
        assert "ALTER DATABASE" in caught.value.hint
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


async def test_migrations_down_and_up_give_equal_schema(committed_url: str) -> None:
    before = await tables(committed_url)
    await migrations.downgrade(committed_url, "base")
    assert await tables(committed_url) == {"alembic_version"}
    await migrations.upgrade(committed_url)
    assert await tables(committed_url) == before
    await migrations.check(committed_url)


async def test_older_database_is_not_current(committed_url: str) -> None:
    await migrations.downgrade(committed_url, "-1")
    database = await open_database(committed_url)
    async with database.read() as session:
        assert not await migrations.is_current(session)
    await database.close()


async def test_empty_database_is_not_current(empty_url: str) -> None:
    database = await open_database(empty_url)
    async with database.read() as session:
        assert not await migrations.is_current(session)
    await database.close()


async def test_downgrade_drops_what_find_losses_names(committed_url: str) -> None:
    """Each column and table that a downgrade to the first revision drops is named before."""
    columns = """SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c
        WHERE table_schema = 'public'"""
    connection = await asyncpg.connect(committed_url)
    before = {row[0] for row in await connection.fetch(columns)}
    dropped = downgrades.dropped_by(migrations.head(), "0001")
    await migrations.downgrade(committed_url, "0001")
    gone = before - {row[0] for row in await connection.fetch(columns)}
    await connection.close()
    named = {
        name
        for name in gone
        if name.partition(".")[0] in dropped.tables or tuple(name.split(".")) in dropped.columns
    }
    assert gone == named
    assert len(dropped.tables) > 10
