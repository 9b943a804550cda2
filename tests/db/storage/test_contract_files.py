"""The contract of files, tested on PostgreSQL, on the twin, and with injected failures."""

from datetime import timedelta

import pytest

from db.errors import BadInput, Conflict, Forbidden, NotFound, TooLarge
from db.kit.base import OwnerId, new_id
from db.storage import (
    NewBsp,
    NewFile,
    Quota,
    StorageOperations,
    Upload,
    file_key,
)
from tests.db.storage.samples import (
    HELLO,
    MANY,
    make_bsp,
    make_bucket,
    make_file,
    read_bucket,
    store_file,
    used_capacities,
)
from tests.fixtures.storage import Open


async def test_create_file_returns_a_pending_file(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    file = await make_file(storage, owner, bucket, "reports/may.txt", size=2**60)
    assert (file.status, file.size, file.bucket_id) == ("PENDING", 2**60, bucket.id)
    assert (file.key, file.fingerprint, file.object_id) == (None, None, None)
    assert file.content_type == "application/octet-stream"
    assert await storage.files_by_id(owner, [file.id]) == [file]
    counted = await read_bucket(storage, owner, bucket.id)
    assert (counted.file_count, counted.total_size, counted.version) == (1, 2**60, 1)


async def test_finish_upload_stores_the_first_upload(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    pending = await make_file(storage, owner, bucket)
    upload = new_id()
    file = await storage.finish_upload(pending, object_id=upload, fingerprint=HELLO)
    assert (file.status, file.object_id, file.fingerprint) == ("STORED", upload, HELLO)
    assert file.key == file_key(pending, HELLO)
    again = await storage.finish_upload(pending, object_id=new_id(), fingerprint=HELLO)
    assert again == file
    with pytest.raises(Conflict):
        await storage.finish_upload(pending, object_id=new_id(), fingerprint=bytes(32))
    assert await storage.known_files([file.id, new_id()]) == [file]
    assert await storage.file_by_key(owner, file_key(pending, HELLO)) == file


async def test_create_file_rejects_a_location_in_use(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket, other = await make_bucket(storage, owner), await make_bucket(storage, owner, "other")
    await make_file(storage, owner, bucket)
    with pytest.raises(Conflict) as caught:
        await make_file(storage, owner, bucket)
    assert caught.value.field == "location"
    await make_file(storage, owner, other)
    await make_file(storage, owner, bucket, "A.txt")
    assert (await read_bucket(storage, owner, bucket.id)).file_count == 2


async def test_begin_deletion_frees_location_and_space(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, owner)
    bucket = await make_bucket(storage, owner)
    file = await store_file(storage, await make_file(storage, owner, bucket, replicas=1))
    await storage.begin_deletion(owner, file.id)
    await storage.begin_deletion(owner, file.id)
    assert await used_capacities(storage, owner, bsp) == [0]
    emptied = await read_bucket(storage, owner, bucket.id)
    assert (emptied.file_count, emptied.total_size) == (0, 0)
    (going,) = await storage.files_by_id(owner, [file.id])
    assert (going.status, going.bucket_id, going.key) == ("DELETING", None, None)
    assert going.fingerprint == HELLO
    assert (await storage.files(owner, MANY)).rows == []
    assert await storage.count_files(owner) == 0
    assert file.key is not None
    assert await storage.file_by_key(owner, file.key) is None
    assert await storage.deleting_files(limit=10) == [file.id]
    with pytest.raises(Conflict):
        await store_file(storage, file)
    again = await make_file(storage, owner, bucket)
    await storage.end_deletion([file.id, again.id])
    assert await storage.files_by_id(owner, [file.id, again.id]) == [again]
    assert await storage.deleting_files(limit=10) == []


async def test_delete_bucket_requires_with_files_unless_empty(
    storage: StorageOperations, owner: OwnerId
) -> None:
    first, second = await make_bsp(storage, owner), await make_bsp(storage, owner, "second")
    bucket, other = await make_bucket(storage, owner), await make_bucket(storage, owner, "other")
    files = [
        await make_file(storage, owner, bucket, f"{number}", size=10 * number, replicas=2)
        for number in range(4)
    ]
    kept = await make_file(storage, owner, other, size=7, replicas=2)
    with pytest.raises(Conflict, match="4"):
        await storage.delete_bucket(owner, bucket.id, with_files=False, limit=10)
    assert await used_capacities(storage, owner, first, second) == [67, 67]
    gone = await storage.delete_bucket(owner, bucket.id, with_files=True, limit=3)
    assert len(set(gone)) == 3  # a bucket may have more files than a process can hold
    assert await storage.buckets_by_id(owner, [bucket.id]) == []
    assert await used_capacities(storage, owner, first, second) == [7, 7]
    deleting = set(await storage.deleting_files(limit=10))
    assert set(gone) < deleting == {file.id for file in files}
    assert (await storage.files(owner, MANY)).rows == [kept]
    assert await storage.delete_bucket(owner, other.id, with_files=True, limit=10) == [kept.id]


async def test_stale_uploads_returns_old_pending_files(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    pending = await make_file(storage, owner, bucket)
    await store_file(storage, await make_file(storage, owner, bucket, "stored"))
    assert await storage.stale_uploads(older_than=timedelta(hours=1), limit=9) == []
    assert await storage.stale_uploads(older_than=timedelta(0), limit=9) == [pending]
    assert await storage.stale_uploads(older_than=timedelta(0), limit=0) == []


# Bytes that are stored before their row


async def test_add_file_creates_a_stored_file(storage: StorageOperations, owner: OwnerId) -> None:
    bsp, bucket = await make_bsp(storage, owner), await make_bucket(storage, owner)
    asked = NewFile(bucket.id, "a.csv", 0, "text/csv", 1)
    assert await storage.expect_file(owner, asked, source="x") is None
    upload = Upload(new_id(), new_id(), 5, HELLO)
    file = await storage.add_file(owner, asked, upload, source="x")
    assert (file.id, file.object_id, file.size) == upload[:3]
    assert (file.status, file.fingerprint, file.content_type) == ("STORED", HELLO, "text/csv")
    assert file.key == file_key(file, HELLO)
    assert await storage.files_by_id(owner, [file.id]) == [file]
    assert await used_capacities(storage, owner, bsp) == [5]
    counted = await read_bucket(storage, owner, bucket.id)
    assert (counted.file_count, counted.total_size) == (1, 5)


async def test_expect_file_raises_what_add_file_would_raise(
    open_storage: Open, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = open_storage(Quota(bytes=10, files=3))
    bucket, public = (
        await make_bucket(storage, owner),
        await make_bucket(storage, owner, private=False, name="p"),
    )
    await make_bsp(storage, owner, capacity=4)
    file = await make_file(storage, owner, bucket)
    refused: list[tuple[OwnerId, NewFile, type[Exception], str]] = [
        (owner, NewFile(bucket.id, "a.txt", 0), Conflict, "location"),
        (owner, NewFile(bucket.id, "../x", 0), BadInput, "location"),
        (owner, NewFile(new_id(), "b", 0), NotFound, "bucketId"),
        (other_owner, NewFile(bucket.id, "b", 0), Forbidden, "bucketId"),
        (other_owner, NewFile(public.id, "b", 0), Forbidden, "bucketId"),
    ]
    for asker, asked, error, field in refused:
        with pytest.raises(error) as early:
            await storage.expect_file(asker, asked, source="x")
        with pytest.raises(error) as late:
            await storage.add_file(asker, asked, Upload(new_id(), new_id(), 1, HELLO), source="x")
        assert [getattr(caught.value, "field", None) for caught in (early, late)] == [field] * 2
    too_large = Upload(new_id(), new_id(), 6, HELLO)
    with pytest.raises(TooLarge):
        await storage.add_file(owner, NewFile(bucket.id, "b", 0), too_large, source="x")
    nowhere = NewFile(bucket.id, "b", 0, None, 1)
    with pytest.raises(Conflict) as caught:
        await storage.add_file(owner, nowhere, Upload(new_id(), new_id(), 5, HELLO), source="x")
    assert caught.value.field == "desiredReplicas"
    assert (await storage.files(owner, MANY)).rows == [file]
    assert (await read_bucket(storage, owner, bucket.id)).total_size == 5


async def test_add_file_with_a_used_key_returns_the_first_file(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    asked = NewFile(bucket.id, "a.csv", 0)
    assert await storage.expect_file(owner, asked, source="x", idempotency_key="k") is None
    first = await storage.add_file(
        owner, asked, Upload(new_id(), new_id(), 5, HELLO), source="x", idempotency_key="k"
    )
    assert await storage.expect_file(owner, asked, source="x", idempotency_key="k") == first
    again = await storage.add_file(
        owner, asked, Upload(new_id(), new_id(), 7, bytes(32)), source="x", idempotency_key="k"
    )
    assert again == first
    other = Upload(new_id(), new_id(), 5, HELLO)
    for changed, source in ((asked, "y"), (asked._replace(location="b.csv"), "x")):
        with pytest.raises(Conflict) as early:
            await storage.expect_file(owner, changed, source=source, idempotency_key="k")
        with pytest.raises(Conflict) as late:
            await storage.add_file(owner, changed, other, source=source, idempotency_key="k")
        assert (early.value.field, late.value.field) == ("idempotencyKey", "idempotencyKey")
    assert (await read_bucket(storage, owner, bucket.id)).file_count == 1


# Quotas


async def test_quota_counts_all_buckets_of_a_user(open_storage: Open, owner: OwnerId) -> None:
    storage = open_storage(Quota(bytes=100, files=3))
    first, second = await make_bucket(storage, owner), await make_bucket(storage, owner, "second")
    file = await make_file(storage, owner, first, size=60)
    with pytest.raises(TooLarge) as caught:
        await make_file(storage, owner, second, size=41)
    assert caught.value.field == "size"
    await make_file(storage, owner, second, size=40)
    empty = await make_file(storage, owner, first, "empty", size=0)
    with pytest.raises(TooLarge, match="3"):
        await make_file(storage, owner, first, "fourth", size=0)
    await storage.begin_deletion(owner, file.id)
    await storage.begin_deletion(owner, empty.id)
    await make_file(storage, owner, second, "b", size=60)


async def test_quota_applies_per_user(
    open_storage: Open, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = open_storage(Quota(bytes=100, files=1))
    await make_file(storage, owner, await make_bucket(storage, owner), size=100)
    await make_file(storage, other_owner, await make_bucket(storage, other_owner), size=100)


# Retries


async def test_idempotency_key_returns_the_first_result(
    storage: StorageOperations, owner: OwnerId
) -> None:
    new = NewBsp("acme", 10, [])
    bsp = await storage.create_bsp(owner, new, idempotency_key="a")
    assert await storage.create_bsp(owner, new, idempotency_key="a") == bsp
    bucket = await storage.create_bucket(owner, "b", private=True, idempotency_key="b")
    assert await storage.create_bucket(owner, "b", private=True, idempotency_key="b") == bucket
    asked = NewFile(bucket.id, "c", 1, None, 1)
    file = await storage.create_file(owner, asked, idempotency_key="c")
    assert await storage.create_file(owner, asked, idempotency_key="c") == file
    assert await used_capacities(storage, owner, bsp) == [1]
    with pytest.raises(Conflict) as caught:
        await storage.create_file(owner, asked._replace(location="d"), idempotency_key="c")
    assert caught.value.field == "idempotencyKey"
