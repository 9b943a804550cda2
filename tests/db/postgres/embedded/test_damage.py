"""A damaged cluster is kept under another name, and a new one serves."""

import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.fixtures.cluster import open_fast, query


@pytest.fixture(scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """Each test damages the cluster that the one before was given."""
    folder = tmp_path_factory.mktemp("damaged")
    async with await open_fast(folder):
        pass
    yield folder
    shutil.rmtree(folder)


def remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_database(cluster: Path) -> None:
    remove(*(path for path in (cluster / "base").iterdir() if int(path.name) > 16_000))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no files": lambda cluster: remove(*cluster.iterdir()),
    "no PG_VERSION": lambda cluster: remove(cluster / "PG_VERSION"),
    "garbage in PG_VERSION": lambda cluster: (cluster / "PG_VERSION").write_bytes(b"\xff\0"),
    "no global": lambda cluster: remove(cluster / "global"),
    "pg_control cut": lambda cluster: os.truncate(cluster / "global/pg_control", 100),
    "pg_control zeroed": lambda cluster: (cluster / "global/pg_control").write_bytes(bytes(8192)),
    "no pg_wal": lambda cluster: remove(cluster / "pg_wal"),
    "no WAL": lambda cluster: remove(*(cluster / "pg_wal").iterdir()),
    "no pg_xact": lambda cluster: remove(cluster / "pg_xact"),
    "no postgresql.conf": lambda cluster: remove(cluster / "postgresql.conf"),
    "no pg_filenode.map": lambda cluster: remove(cluster / "global/pg_filenode.map"),
    "pg_database scribbled": lambda cluster: (cluster / "global/1262").write_bytes(b"?" * 8192),
    "no database": remove_database,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_damaged_cluster_is_moved_and_replaced(
    folder: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder / "cluster")
    (folder / "cluster" / "witness").touch()
    async with await open_fast(folder) as opened:
        assert await query(opened, "select 42") == 42
        [kept] = folder.glob("cluster.damaged-*")
        assert (kept / "witness").exists()
        assert str(kept) in opened.findings[-1]
    [loud] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(kept) in loud.getMessage()
    shutil.rmtree(kept)
