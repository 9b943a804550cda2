from pathlib import Path

import asyncpg

from db.embedded import EmbeddedPostgres
from tests.fixtures.cluster import UNSAFE_AND_FAST


async def execute(server: EmbeddedPostgres, statement: str) -> object:
    connection = await asyncpg.connect(server.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_restart_keeps_the_data(tmp_path: Path) -> None:
    async with await EmbeddedPostgres.open(tmp_path, settings=UNSAFE_AND_FAST) as server:
        await execute(server, "create table kept as select 42 as n")
    async with await EmbeddedPostgres.open(tmp_path, settings=UNSAFE_AND_FAST) as server:
        assert await execute(server, "select n from kept") == 42
        assert server.findings == ()
