import tempfile
from pathlib import Path

import asyncpg

from tests.fixtures.failover import FailoverPair


async def test_promoted_standby_has_what_the_primary_acknowledged() -> None:
    with tempfile.TemporaryDirectory(prefix="howdah-failover-") as folder:
        async with FailoverPair.started(Path(folder)) as pair:
            connection = await asyncpg.connect(pair.primary.url)
            await connection.execute("CREATE TABLE kept (id int)")
            await connection.execute("INSERT INTO kept VALUES (1)")
            old = pair.primary
            await pair.promote()
            connection.terminate()
            assert pair.primary is not old
            connection = await asyncpg.connect(pair.primary.url)
            assert await connection.fetchval("SELECT id FROM kept") == 1
            await connection.execute("INSERT INTO kept VALUES (2)")
            await pair.primary.kill()
            await pair.primary.start()
            connection.terminate()
            connection = await asyncpg.connect(pair.primary.url)
            assert await connection.fetchval("SELECT count(*) FROM kept") == 2
            await connection.close()
