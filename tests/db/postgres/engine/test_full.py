"""A full or read-only database gives a clear error for changes; reads continue."""

import pytest

from db.errors import Unavailable
from db.kit.base import OwnerId
from db.postgres.engine import Database, open_database
from db.tasks import Tasks
from tests.fixtures.connected import connected

NO_SPACE = """
    CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER no_space BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION no_space()
"""


async def refused(database: Database, owner: OwnerId) -> None:
    for change in (database.write, database.transaction):
        with pytest.raises(Unavailable, match="does not accept changes") as caught:
            await change(lambda session: Tasks(session, owner).create(title="one"))
        assert caught.value.retry_after_s
    async with database.read() as session:
        assert (await Tasks(session, owner).stats()).total == 0


async def test_full_disk_is_unavailable(
    committed: Database, committed_url: str, committed_owner: OwnerId
) -> None:
    async with connected(committed_url) as connection:
        await connection.execute(NO_SPACE)
    await refused(committed, committed_owner)


async def test_read_only_server_is_unavailable(
    committed_url: str, committed_owner: OwnerId
) -> None:
    async with connected(committed_url) as connection:
        name = committed_url.rpartition("/")[2]
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only TO on')
    database = await open_database(committed_url, pool_size=2)
    await refused(database, committed_owner)
    await database.close()
