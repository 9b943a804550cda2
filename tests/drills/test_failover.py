import asyncio
import tempfile
from pathlib import Path

import asyncpg

from tests.fixtures.connected import connected
from tests.fixtures.failover import FailoverPair
from tests.fixtures.patience import patience
from tests.fixtures.standbys import IS_RECEIVING, StandbyGroup


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
            async with connected(pair.primary.url) as connection:
                assert await connection.fetchval("SELECT count(*) FROM kept") == 2


async def test_standby_that_has_received_most_is_promoted_and_the_other_follows() -> None:
    async with StandbyGroup.started("first", "second") as group:
        first, second = group.standbys
        await first.configure("primary_conninfo", "")
        async with patience():
            while await first.administer(IS_RECEIVING):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.02)
        await group.primary.administer("CREATE TABLE kept (id int)")
        await group.catch_up(second)
        left = await group.fail_over()
        assert (left.primary, left.standbys) == (second, [first])
        await second.administer("INSERT INTO kept VALUES (1)")
        await left.catch_up()
        assert await first.administer("SELECT count(*) FROM kept") == 1
