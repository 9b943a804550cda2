"""Statements that wait for a lock: they fail in the time that the operator allows."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from db.errors import Unavailable
from db.postgres.engine import Database, open_database
from db.postgres.route.connect import create_engine
from db.postgres.route.urls import parse_url
from db.postgres.statements import compile_statement
from db.services import open_services
from db.settings import Settings
from tests.fixtures.notes import ADD, BUMP, HAS
from tests.fixtures.patience import patience
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer

LOCK_MS = 200
_LIMIT = compile_statement(text("SHOW lock_timeout"))


@pytest.fixture(params=["direct", "pooled"])
async def database(
    notes: Database, committed_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    await notes.write(lambda session: session.rows(ADD, id=1))
    async with contextlib.AsyncExitStack() as stack:
        url = committed_url
        if request.param == "pooled":
            if PGBOUNCER is None:
                pytest.skip("there is no pgbouncer on this machine")
            url = await stack.enter_async_context(pgbouncer(url))
        opened = await open_database(url, direct_url=committed_url, pool_size=2, lock_ms=LOCK_MS)
        stack.push_async_callback(opened.close)
        yield opened


async def test_change_fails_when_a_lock_takes_too_long(
    database: Database, observer: asyncpg.Connection
) -> None:
    async with observer.transaction(), patience():
        await observer.execute("UPDATE notes SET n = 7 WHERE id = 1")
        for change in (database.write, database.transaction):
            with pytest.raises(Unavailable, match="waited too long for a lock") as refused:
                await change(lambda session: session.rows(BUMP, id=1))
            assert refused.value.retry_after_s is not None
        assert await database.read().value(HAS, id=1) == 1
    await database.write(lambda session: session.rows(BUMP, id=1))
    assert await observer.fetchval("SELECT n FROM notes") == 8


async def test_setting_limits_statements_and_not_migrations(
    committed_url: str, tmp_path: Path
) -> None:
    settings = Settings(
        database_url=committed_url, data_dir=tmp_path, env="development", database_lock_ms=7_000
    )
    async with open_services(settings) as services:
        assert await services.database.read().value(_LIMIT) == "7s"
    engine = create_engine(parse_url(committed_url))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW lock_timeout")) == "0"
    await engine.dispose()
