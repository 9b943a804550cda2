from pathlib import Path

import asyncpg

from db.postgres.embedded import use_running_server
from db.postgres.embedded.folder import DataFolder
from db.settings import Settings
from tests.fixtures.cluster import open_fast


async def test_a_command_beside_a_server_uses_its_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert use_running_server(settings) is settings
    async with await open_fast(tmp_path / "postgres") as server:
        beside = use_running_server(settings)
        assert beside.database_url == server.url
        assert (beside.development, beside.data_dir) == (True, tmp_path)
        connection = await asyncpg.connect(beside.database_url)
        assert await connection.fetchval("select 42") == 42
        await connection.close()
    assert use_running_server(settings) is settings


async def test_a_folder_whose_holder_has_not_started_yet_is_as_none(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    folder = DataFolder.acquire(tmp_path / "postgres")
    assert use_running_server(settings) is settings
    folder.release()


async def test_a_given_database_stays(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://db.example.com/howdah")
    assert use_running_server(settings) is settings
