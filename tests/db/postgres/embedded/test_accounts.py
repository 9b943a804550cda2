"""The account that the embedded PostgreSQL runs as, and its access to programs and data."""

import asyncio
import os
import pwd
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from db.errors import Unavailable
from db.postgres.embedded import binaries, processes
from db.postgres.embedded.account import Account
from tests.fixtures.cluster import open_fast, query

ROOT = Path(__file__).parents[4]
NOBODY = pwd.getpwnam("nobody")
DAEMON = pwd.getpwnam("daemon")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach; pytest's own are shut."""
    folder = Path(tempfile.mkdtemp(prefix="howdah-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def hidden_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    hidden = tmp_path / "home"
    binaries._copy_programs(hidden)
    hidden.chmod(0o700)
    monkeypatch.setattr(binaries, "_installed", lambda: hidden / binaries.PACKAGE)
    yield hidden
    shutil.rmtree(hidden)


def owners_of_postgres(folder: Path) -> set[int]:
    pids = processes.find(processes.marker(folder))
    return {psutil.Process(pid).uids().effective for pid in pids}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_root_runs_postgres_as_nobody(data_dir: Path) -> None:
    modes = [mode(parent) for parent in data_dir.parents]
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42
        assert owners_of_postgres(data_dir) == {NOBODY.pw_uid}
    assert [mode(parent) for parent in data_dir.parents] == modes
    assert 0o700 in modes
    assert mode(data_dir) == 0o700
    assert (data_dir / "password").owner() == "root"


async def test_root_runs_postgres_as_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, DAEMON.pw_uid, DAEMON.pw_gid)
    async with await open_fast(tmp_path) as opened:
        assert await query(opened, "select 42") == 42
        assert owners_of_postgres(tmp_path) == {DAEMON.pw_uid}
        assert {path.owner() for path in tmp_path.iterdir()} == {"daemon"}
    shutil.rmtree(tmp_path / "cluster")


async def test_unreadable_programs_are_copied(
    data_dir: Path,
    hidden_environment: Path,
    open_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binaries, "COPY_FOLDERS", (open_folder,))
    for _ in ("copied", "found"):
        async with await open_fast(data_dir) as opened:
            assert await query(opened, "select n from kept") == 42
        [copied] = open_folder.iterdir()
        assert not list(data_dir.glob("howdah-postgres-*")), "out of reach there as well"
    assert mode(hidden_environment) == 0o700

    copied.chmod(0o777)  # anybody could have put programs there
    with pytest.raises(Unavailable, match="do not run for uid"):
        await open_fast(data_dir)


# Everything is imported before root becomes an ordinary user: the interpreter's own folder may be
# shut for that user, and what is tested is ours.
ORDINARY = """
import asyncio, os, sys
from concurrent.futures import thread
from pathlib import Path
import asyncpg, encodings.idna
from db.postgres.embedded import EmbeddedPostgres, processes
from db.errors import Unavailable

os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))

async def main():
    mine, roots = Path(sys.argv[3]), Path(sys.argv[4])
    async with await EmbeddedPostgres.open(mine, settings={"fsync": "off"}) as server:
        connection = await asyncpg.connect(server.url)
        print(await connection.fetchval("select 42"), server.findings)
        await connection.close()
        print({os.stat(f"/proc/{pid}").st_uid for pid in processes.find(processes.marker(mine))})
    try:
        await EmbeddedPostgres.open(roots)
    except Unavailable as refused:
        print(refused.message)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_ordinary_user_runs_postgres_under_own_account(open_folder: Path) -> None:
    nobody = Account(NOBODY.pw_uid, NOBODY.pw_gid)
    if binaries._version(binaries.binary("postgres").parent, nobody) is None:
        pytest.skip("the environment is out of reach for ordinary users")
    mine, roots = open_folder / "mine", open_folder / "roots"
    mine.mkdir()
    roots.mkdir(mode=0o700)
    os.chown(mine, nobody.uid, nobody.gid)
    words = [ORDINARY, nobody.uid, nobody.gid, mine, roots]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", *map(str, words), cwd=ROOT, env={"HOME": str(mine)}, stdout=PIPE
    )
    printed, _ = await process.communicate()
    worked, owners, refused = printed.decode().splitlines()
    assert worked == "42 ()"
    assert owners == f"{{{nobody.uid}}}"
    assert refused == f"The data folder {roots} cannot be used: Permission denied."
