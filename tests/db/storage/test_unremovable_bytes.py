"""A sweep passes over bytes that cannot be removed."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from db.errors import Unavailable
from db.kit.base import OwnerId, new_id
from db.kit.sweeps import GIVE_UP_AFTER
from db.objects.store import ObjectInfo, ObjectStore
from db.storage import NewFile, StorageOperations, object_key
from tests.db.storage.byte_samples import chunks, keys, swept
from tests.fixtures.patience import patience


async def deleting(storage: StorageOperations, owner: OwnerId, count: int) -> list[UUID]:
    bucket = await storage.create_bucket(owner, "films", private=True)
    files = [
        await storage.create_file(owner, NewFile(bucket.id, f"{number}.bin", 1))
        for number in range(count)
    ]
    for file in files:
        await storage.begin_deletion(owner, file.id)
    return [file.id for file in files]


def make_unreadable(monkeypatch: pytest.MonkeyPatch, ids: Sequence[UUID]) -> None:
    whole = ObjectStore.list

    async def list_some(store: ObjectStore, prefix: str) -> AsyncIterator[Sequence[ObjectInfo]]:
        if any(one.hex in prefix for one in ids):
            raise Unavailable("The folder cannot be read.", hint="Repair the disk.")
        async for batch in whole(store, prefix):
            yield batch

    monkeypatch.setattr(ObjectStore, "list", list_some)


async def test_sweep_finishes_other_deletions_behind_broken_ones(
    storage: StorageOperations,
    folder: ObjectStore,
    owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that cannot be removed are the oldest, and as many as end a sweep."""
    *broken, whole = await deleting(storage, owner, GIVE_UP_AFTER + 1)
    make_unreadable(monkeypatch, broken)
    async with patience():
        while await storage.known_files([whole]):
            with pytest.raises(Unavailable):
                await swept(storage, folder)
    assert len(await storage.known_files(broken)) == len(broken)


async def test_sweep_ends_deletions_of_a_batch_together_without_those_that_fail(
    storage: StorageOperations,
    folder: ObjectStore,
    owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, *whole = await deleting(storage, owner, 4)
    make_unreadable(monkeypatch, [broken])
    ended: list[set[UUID]] = []
    end_deletion = storage.end_deletion

    async def record(ids: Sequence[UUID]) -> None:
        ended.append(set(ids))
        await end_deletion(ids)

    monkeypatch.setattr(storage, "end_deletion", record)
    with pytest.raises(Unavailable):
        await swept(storage, folder)
    assert ended == [set(whole)]
    assert [file.id for file in await storage.known_files([broken, *whole])] == [broken]


async def test_sweep_removes_unused_objects_although_a_deletion_fails(
    storage: StorageOperations,
    folder: ObjectStore,
    owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_unreadable(monkeypatch, await deleting(storage, owner, 1))
    await folder.put(object_key(new_id(), new_id()), chunks(b"x"), size=1)
    with pytest.raises(Unavailable):
        await swept(storage, folder)
    assert await keys(folder) == []
