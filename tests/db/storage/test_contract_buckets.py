"""The contract of buckets: tested on PostgreSQL, on the twin, and with injected failures."""

import pytest

from db.errors import Conflict, Forbidden, NotFound
from db.kit.base import OwnerId, new_id
from db.storage import (
    BucketRow,
    FileRow,
    StorageOperations,
)
from tests.db.storage.samples import (
    HELLO,
    MANY,
    make_bsp,
    make_bucket,
    make_file,
    read_bucket,
    store_file,
)


async def test_create_bucket_returns_an_empty_bucket(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner, " photos ")
    assert (bucket.name, bucket.private, bucket.version) == ("photos", True, 1)
    assert (bucket.file_count, bucket.total_size) == (0, 0)
    assert await read_bucket(storage, owner, bucket.id) == bucket


async def test_bucket_names_are_unique_per_owner(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    await make_bucket(storage, owner)
    second = await make_bucket(storage, owner, "second")
    with pytest.raises(Conflict) as caught:
        await make_bucket(storage, owner)
    assert caught.value.field == "name"
    with pytest.raises(Conflict):
        await storage.update_bucket(owner, second.id, name="photos")
    await make_bucket(storage, other_owner)
    assert await storage.count_buckets(owner) == 2


async def test_update_bucket_rejects_an_outdated_version(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    renamed = await storage.update_bucket(owner, bucket.id, name="films", expected_version=1)
    assert (renamed.name, renamed.version) == ("films", 2)
    with pytest.raises(Conflict):
        await storage.update_bucket(owner, bucket.id, name="music", expected_version=1)
    public = await storage.update_bucket(owner, bucket.id, private=False)
    assert (public.name, public.private, public.version) == ("films", False, 3)
    assert await storage.update_bucket(owner, bucket.id) == public


async def test_private_bucket_of_another_user_is_invisible_and_unchangeable(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, other_owner)
    file = await store_file(storage, await make_file(storage, other_owner, bucket))
    assert await storage.buckets_by_id(owner, [bucket.id]) == []
    assert await storage.files_by_id(owner, [file.id]) == []
    assert file.key is not None
    assert await storage.file_by_key(owner, file.key) is None
    pages = await storage.files_of_buckets(owner, [bucket.id], MANY, under=None)
    assert pages[bucket.id].rows == []
    assert await storage.count_files_of_buckets(owner, [bucket.id], under=None) == {}
    assert (await storage.bsps_of_files(owner, [file.id]))[file.id] == []
    assert (await storage.files(owner, MANY)).rows == []
    assert (await storage.buckets(owner, MANY)).rows == []
    await _assert_unchangeable(storage, owner, bucket, file)
    assert await storage.files_by_id(other_owner, [file.id]) == [file]


async def test_public_bucket_of_another_user_is_readable_and_unchangeable(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, other_owner)
    bucket = await make_bucket(storage, other_owner, private=False)
    file = await store_file(storage, await make_file(storage, other_owner, bucket, replicas=1))
    bucket = await read_bucket(storage, owner, bucket.id)
    assert bucket.file_count == 1
    assert await storage.files_by_id(owner, [file.id]) == [file]
    assert file.key is not None
    assert await storage.file_by_key(owner, file.key) == file
    pages = await storage.files_of_buckets(owner, [bucket.id], MANY, under=None)
    assert pages[bucket.id].rows == [file]
    assert await storage.count_files_of_buckets(owner, [bucket.id], under=None) == {bucket.id: 1}
    assert await storage.bsps_of_files(owner, [file.id]) == {file.id: [bsp.id]}
    assert (await storage.files(owner, MANY)).rows == []
    assert (await storage.files_of_bsps(owner, [bsp.id], MANY))[bsp.id].rows == []
    await _assert_unchangeable(storage, owner, bucket, file)


async def _assert_unchangeable(
    storage: StorageOperations, stranger: OwnerId, bucket: BucketRow, file: FileRow
) -> None:
    with pytest.raises(Forbidden):
        await storage.update_bucket(stranger, bucket.id, name="mine now")
    with pytest.raises(Forbidden):
        await storage.delete_bucket(stranger, bucket.id, with_files=True, limit=10)
    with pytest.raises(Forbidden) as caught:
        await make_file(storage, stranger, bucket, "smuggled")
    assert caught.value.field == "bucketId"
    with pytest.raises(Forbidden):
        await storage.begin_deletion(stranger, file.id)


async def test_changes_of_missing_objects_raise_not_found(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    with pytest.raises(NotFound):
        await storage.update_bucket(owner, new_id(), name="x")
    with pytest.raises(NotFound):
        await storage.delete_bucket(owner, new_id(), with_files=False, limit=10)
    with pytest.raises(NotFound) as caught:
        await make_file(storage, owner, bucket._replace(id=new_id()))
    assert caught.value.field == "bucketId"
    with pytest.raises(NotFound):
        await storage.begin_deletion(owner, new_id())
    assert await storage.file_by_key(owner, HELLO) is None
