"""A copy that shares the object store of its original deletes nothing there."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from db.installation import SweptStore, recognize, renew
from db.installation.swept_store import ABANDONED_AFTER, KEY, RENEWED_AFTER, SETTLED_AFTER
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore, open_objects
from db.postgres.engine import Database
from db.services import Services, sweeps_of
from db.storage import delete_file
from tests.db.backup.test_objects import Files, contents, key_of
from tests.fixtures.copies import dump_into
from tests.fixtures.replicas import OpenReplica

KEEP = timedelta(days=1)
MOMENT = timedelta(seconds=1)


def make_older(folder: Path, age: timedelta) -> None:
    """Dates all objects back."""
    at = time.time() - age.total_seconds()
    for path in (folder / "objects").rglob("*"):
        os.utime(path, (at, at))


async def keys(objects: ObjectStore, folder: str) -> list[str]:
    return sorted([one.key async for batch in objects.list(folder) for one in batch])


async def sweep(services: Services) -> int:
    """Removes objects, and returns their number."""
    sweeps = sweeps_of(services)
    found = [await sweeps[name]() for name in ("files", "partial results", "results")]
    return sum(found)


async def test_new_store_is_ours_after_a_while(committed: Database, tmp_path: Path) -> None:
    await recognize(committed, keep=KEEP)
    store = SweptStore(committed, open_objects(None, data_dir=tmp_path))
    assert not await store.is_ours()  # another installation may write its ID at the same time
    assert not await store.is_ours()
    make_older(tmp_path, SETTLED_AFTER)
    assert await store.is_ours()
    make_older(tmp_path, RENEWED_AFTER + MOMENT)
    assert await store.is_ours()
    assert (
        time.time() - (tmp_path / "objects" / KEY).stat().st_mtime < RENEWED_AFTER.total_seconds()
    )
    assert await store.is_ours()


async def test_store_of_another_installation_is_ours_once_it_is_abandoned(
    committed: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = await recognize(committed, keep=KEEP)
    store = SweptStore(committed, open_objects(None, data_dir=tmp_path))
    await store.is_ours()
    make_older(tmp_path, SETTLED_AFTER)
    assert await store.is_ours()
    await renew(committed, keep=KEEP)
    make_older(tmp_path, ABANDONED_AFTER - timedelta(days=1))
    for _ in range(2):
        assert not await store.is_ours()
    assert caplog.text.count(f"installation {first.id.hex} sweeps this object store") == 1
    make_older(tmp_path, ABANDONED_AFTER)
    assert not await store.is_ours()
    make_older(tmp_path, SETTLED_AFTER)
    assert await store.is_ours()


async def test_sweeps_of_a_copy_keep_the_objects_of_its_original(
    open_replica: OpenReplica, committed_url: str, empty_url: str, tmp_path: Path
) -> None:
    key = f"files/{new_id().hex}/{new_id().hex}"
    async with open_replica() as original:
        objects = original.services.objects
        await sweep(original.services)
        await dump_into(committed_url, empty_url, tmp_path)
    await objects.put_bytes(key, b"stored by the original since")
    make_older(tmp_path, RENEWED_AFTER * 2)
    async with open_replica(database_url=empty_url) as copy:
        assert await sweep(copy.services) == 0
        assert await keys(objects, "files") == [key]
        await open_objects(None, data_dir=tmp_path).delete([KEY])  # as if the original were gone
        await sweep(copy.services)
        make_older(tmp_path, RENEWED_AFTER * 2)
        assert await sweep(copy.services) == 1
    assert await keys(objects, "files") == []


async def test_users_of_a_copy_delete_no_object_of_its_original(
    open_replica: OpenReplica,
    committed_owner: OwnerId,
    committed_url: str,
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("db.installation.swept_store.CHECKED_EVERY_S", 0.0)
    async with open_replica() as original:
        objects = original.services.objects
        files = Files(original.services.database, objects, committed_owner)
        first, second, third = await files.store(b"first", b"second", b"third")
        await sweep(original.services)
        await delete_file(files.storage, objects, committed_owner, first.id)
        assert await keys(objects, "files") == [key_of(second), key_of(third)]
        await dump_into(committed_url, empty_url, tmp_path)
    async with open_replica(database_url=empty_url) as copy:
        storage, store = copy.services.storage, copy.services.objects
        await delete_file(storage, store, committed_owner, second.id)
        assert await storage.known_files([second.id]) == []
        assert await contents(objects, [second, third]) == [b"second", b"third"]
        await open_objects(None, data_dir=tmp_path).delete([KEY])  # as if the original were gone
        await delete_file(storage, store, committed_owner, third.id)
        assert await keys(objects, "files") == [key_of(second)]
