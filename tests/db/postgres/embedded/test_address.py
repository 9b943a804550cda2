from pathlib import Path

from db.postgres.embedded import use_running_server
from db.postgres.embedded.folder import DataFolder
from db.settings import Settings
from tests.fixtures.cluster import open_fast
from tests.fixtures.connected import connected


async def test_command_uses_the_database_of_a_running_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert use_running_server(settings) is settings
    async with await open_fast(tmp_path / "postgres") as server:
        beside = use_running_server(settings)
        assert beside.database_url == server.url
        assert (beside.development, beside.data_dir) == (True, tmp_path)
        async with connected(beside.database_url) as connection:
            assert await connection.fetchval("select 42") == 42
    assert use_running_server(settings) is settings


async def test_running_url_is_none_while_the_server_starts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    folder = DataFolder.acquire(tmp_path / "postgres")
    assert use_running_server(settings) is settings
    folder.release()


async def test_use_running_server_keeps_a_database_url(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://db.example.com/howdah")
    assert use_running_server(settings) is settings
