import asyncio
import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest

from db.errors import BadInput, NotFound, Unavailable
from db.objects.store import MIB, ObjectStore, open_objects
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.ports import free_port

ROOT = Path(__file__).parents[3]


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def put(objects: ObjectStore, key: str, data: bytes) -> None:
    await objects.put(key, chunks(data), size=len(data))


async def read(objects: ObjectStore, key: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in objects.read(key, start=start, end=end)])


async def keys(objects: ObjectStore, prefix: str) -> list[str]:
    return sorted([one.key async for batch in objects.list(prefix) for one in batch])


async def test_read_returns_whole_objects_and_ranges(objects: ObjectStore) -> None:
    data = os.urandom(2 * MIB + 7)
    await put(objects, "files/a", data)
    assert await read(objects, "files/a", 0, len(data)) == data
    assert await read(objects, "files/a", MIB - 1, MIB + 1) == data[MIB - 1 : MIB + 1]
    assert await read(objects, "files/a", 5, 5) == b""
    assert (objects.figures.written, objects.figures.read) == (2 * MIB + 7, 2 * MIB + 9)
    assert sum(objects.figures.seconds["put"].counts) == 1
    await put(objects, "files/empty", b"")
    assert await keys(objects, "files") == ["files/a", "files/empty"]


async def test_put_counts_the_bytes_and_not_their_upper_bound(objects: ObjectStore) -> None:
    await objects.put("files/part", chunks(b"one", b"two"), size=2**40)
    assert objects.figures.written == 6


async def test_put_sends_large_objects_in_parts(objects: ObjectStore) -> None:
    piece = os.urandom(MIB)
    await objects.put("files/large", chunks(*[piece] * 12), size=12 * MIB)
    got = await read(objects, "files/large", 0, 12 * MIB)
    assert hashlib.sha256(got).digest() == hashlib.sha256(piece * 12).digest()


async def test_list_returns_the_objects_of_a_folder(objects: ObjectStore) -> None:
    for key in ("files/a/1", "files/a/2", "files/ab/1", "results/1"):
        await put(objects, key, b"x")
    assert await keys(objects, "files/a") == ["files/a/1", "files/a/2"]
    assert await keys(objects, "nothing") == []
    (one,) = [one async for batch in objects.list("results") for one in batch]
    assert abs(datetime.now(UTC) - one.modified_at) < timedelta(minutes=1)


async def test_delete_ignores_missing_objects(objects: ObjectStore) -> None:
    await put(objects, "files/a", b"x")
    await put(objects, "files/b", b"x")
    await objects.delete(["files/a", "files/never"])
    await objects.delete([])
    assert await keys(objects, "files") == ["files/b"]
    with pytest.raises(NotFound):
        await read(objects, "files/a", 0, 1)


async def test_delete_in_a_folder_goes_on_behind_an_object_that_stays(tmp_path: Path) -> None:
    objects = open_objects(None, data_dir=tmp_path)
    await put(objects, "files/a/stays", b"x")
    await put(objects, "files/b", b"x")
    with pytest.raises(Unavailable):
        await objects.delete(["files/a", "files/b"])  # a folder is no object
    assert await keys(objects, "files") == ["files/a/stays"]


async def test_delete_ignores_missing_objects_at_stores_that_report_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Google and Azure do: a request for several keys ends at the first that is missing."""
    objects, delete = open_objects("memory:", data_dir=tmp_path), obstore.delete_async

    async def fail_at_missing(store: Any, paths: str | list[str]) -> None:
        for path in [paths] if isinstance(paths, str) else paths:
            await obstore.head_async(store, path)
            await delete(store, path)

    monkeypatch.setattr(obstore, "delete_async", fail_at_missing)
    monkeypatch.setattr(objects, "kind", "gs")
    for key in ("files/a", "files/b"):
        await objects.put_bytes(key, b"x")
    await objects.delete(["files/never", "files/a", "files/b"])
    assert await keys(objects, "files") == []


async def test_put_keeps_nothing_if_the_source_fails(
    objects: ObjectStore, half_written: Callable[[], list[str]]
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(MIB)
        raise BadInput("Not this.", hint="None.")

    with pytest.raises(BadInput):
        await objects.put("files/a", failing(), size=20 * MIB)
    assert await keys(objects, "files") == []
    assert half_written() == []


async def test_put_keeps_nothing_if_cancelled(
    objects: ObjectStore, half_written: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(MIB)
        waiting.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(objects.put("files/a", stuck(), size=20 * MIB))
    await waiting.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await keys(objects, "files") == []
    assert half_written() == []
    del putting
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_answers_probes_the_store(objects: ObjectStore) -> None:
    await objects.ping()
    assert await objects.answers()


async def test_link_serves_the_object_with_its_headers(s3_bucket: str) -> None:
    objects = open_objects(f"s3://{s3_bucket}/x", data_dir=Path("/nowhere"))
    headers = {"Content-Type": "text/plain", "Content-Disposition": 'attachment; filename="a"'}
    await objects.put("files/a", chunks(b"hello"), size=5, headers=headers)
    link = await objects.link("files/a", expires_in=timedelta(minutes=5))
    assert link is not None
    assert "X-Amz-Expires=300" in link
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(link, headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (206, b"el")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-disposition"] == 'attachment; filename="a"'


async def test_link_is_none_for_a_folder(tmp_path: Path) -> None:
    objects = open_objects(None, data_dir=tmp_path)
    await put(objects, "files/a", b"x")
    assert await objects.link("files/a", expires_in=timedelta(minutes=5)) is None


async def test_object_folder_is_private(tmp_path: Path) -> None:
    open_objects(None, data_dir=tmp_path)
    assert (tmp_path / "objects").stat().st_mode & 0o777 == 0o700
    named = open_objects(f"file://{tmp_path}/else where", data_dir=tmp_path)
    await put(named, "a", b"x")
    assert (tmp_path / "else where" / "a").read_bytes() == b"x"


async def test_prune_removes_partial_files(tmp_path: Path) -> None:
    objects = open_objects(None, data_dir=tmp_path)
    await put(objects, "files/a", b"x")
    left = tmp_path / "objects" / "files" / "b#1"
    left.write_bytes(b"half")
    assert await objects.prune(older_than=timedelta(hours=1)) == 0
    long_ago = time.time() - 7_200
    for path in (left, tmp_path / "objects" / "files" / "a"):
        os.utime(path, (long_ago, long_ago))
    assert await objects.prune(older_than=timedelta(hours=1)) == 1
    assert not left.exists()
    assert await keys(objects, "files") == ["files/a"]


async def test_prune_goes_on_when_another_replica_removes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = open_objects(None, data_dir=tmp_path)
    root, scandir = tmp_path / "objects", os.scandir
    for name in ("a", "gone", "z"):
        (root / name).mkdir()
        (root / name / "left#1").write_bytes(b"half")

    def scan(path: Any) -> Any:
        if Path(path).name == "gone":
            raise FileNotFoundError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert await objects.prune(older_than=timedelta(0)) == 2


@pytest.mark.parametrize("url", ["ftp://x/y", "nonsense", "", "s3:"])
def test_open_objects_refuses_invalid_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="HOWDAH_OBJECTS_URL"):
        open_objects(url, data_dir=tmp_path)


async def test_missing_store_is_unavailable(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    gone = open_objects(f"s3://{s3_bucket}", data_dir=tmp_path)
    with pytest.raises(Unavailable) as caught:
        await gone.ping()
    assert "127.0.0.1" not in str(caught.value)
    assert not await gone.answers()


async def test_missing_bucket_is_unavailable(s3_bucket: str, tmp_path: Path) -> None:
    missing = open_objects(f"s3://{s3_bucket}-missing", data_dir=tmp_path)
    with pytest.raises(Unavailable):
        await missing.ping()
    assert missing.figures.errors == {("ping", "UNAVAILABLE"): 1}


MEMORY = """
import asyncio, os, resource, sys
from pathlib import Path
from typing import Any
from db.objects.store import open_objects

async def main(folder):
    objects = open_objects(None, data_dir=Path(folder))
    piece = bytes(65_536)
    async def chunks(count):
        for _ in range(count):
            yield piece
    async def through(key, count):
        size = count * len(piece)
        await objects.put(key, chunks(count), size=size)
        return sum([len(part) async for part in objects.read(key, start=0, end=size)])
    await through("warm", 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await through("large", 4_096) == 268_435_456
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, flush=True)
    os._exit(0)  # obstore's threads and an interpreter that is taken down may meet in SIGABRT

asyncio.run(main(sys.argv[1]))
"""


def test_transfer_uses_bounded_memory(tmp_path: Path) -> None:
    """Writes and reads 256 MiB in a separate process, because peak memory is per process."""
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    grown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - our own script
    assert int(grown.stdout) < 32 * 1024, f"{grown.stdout} KiB"


async def test_folder_that_hangs_keeps_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder on a network whose server is down: each look at it waits without end."""
    objects, hanging = open_objects(None, data_dir=tmp_path), threading.Event()
    scan = os.scandir

    def hang(folder: Path) -> Any:
        hanging.wait()
        return scan(folder)

    monkeypatch.setattr("db.objects.folders.os.scandir", hang)
    monkeypatch.setattr("db.objects.folders.LOOK_S", 0.2)
    before = threading.active_count()
    try:
        for _ in range(2):
            puts = [put(objects, f"files/{number}", b"x") for number in range(20)]
            refused = await asyncio.gather(*puts, return_exceptions=True)
            assert {type(one) for one in refused} == {Unavailable}
            assert not await objects.answers()
            assert threading.active_count() == before + 1
    finally:
        hanging.set()
    async with patience():
        while threading.active_count() > before:  # noqa: ASYNC110 - of a thread: no event
            await asyncio.sleep(0.01)
    await put(objects, "files/a", b"x")
    await objects.ping()


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the files and folders that were written to the disk."""
    inodes: list[int] = []
    monkeypatch.setattr(
        "db.objects.folders.os.fsync",
        lambda descriptor: inodes.append(os.fstat(descriptor).st_ino),
    )
    return inodes


def inodes(*paths: Path) -> list[int]:
    return [path.stat().st_ino for path in paths]


async def test_identity_of_a_folder_survives_a_power_failure(
    tmp_path: Path, flushed: list[int]
) -> None:
    objects, folder = open_objects(None, data_dir=tmp_path), tmp_path / "objects"
    identity = await objects.identify()
    assert flushed == inodes(folder / ".howdah-folder", folder)
    assert await objects.identify() == identity


async def test_put_returns_when_a_folder_has_the_object_on_its_disk(
    tmp_path: Path, flushed: list[int]
) -> None:
    objects, folder = open_objects(None, data_dir=tmp_path), tmp_path / "objects"
    await put(objects, "files/a/b", b"x")
    assert flushed == inodes(folder / "files/a/b", folder / "files/a", folder / "files", folder)
    await objects.put_bytes("runs/a", b"x")  # a result, which may be lost
    assert len(flushed) == 4


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0" * 31])
async def test_damaged_identity_of_a_folder_is_reported(content: bytes, tmp_path: Path) -> None:
    objects = open_objects(None, data_dir=tmp_path)
    (tmp_path / "objects" / ".howdah-folder").write_bytes(content)
    with pytest.raises(Unavailable, match=r"howdah-folder.* is damaged"):
        await objects.identify()


def test_open_objects_reports_an_unusable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be used") as caught:
        open_objects(None, data_dir=tmp_path / "file")
    assert "HOWDAH_DATA_DIR" in caught.value.hint
