"""What storage promises of files, whoever keeps the rows, however often a call has failed."""

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
    a_bsp,
    a_bucket,
    a_file,
    stored,
    the_bucket,
    used,
)
from tests.fixtures.storage import Open


async def test_file_starts_pending(storage: StorageOperations, owner: OwnerId) -> None:
    bucket = await a_bucket(storage, owner)
    file = await a_file(storage, owner, bucket, "reports/may.txt", size=2**60)
    assert (file.status, file.size, file.bucket_id) == ("PENDING", 2**60, bucket.id)
    assert (file.key, file.fingerprint, file.object_id) == (None, None, None)
    assert file.content_type == "application/octet-stream"
    assert await storage.files_by_id(owner, [file.id]) == [file]
    counted = await the_bucket(storage, owner, bucket.id)
    assert (counted.file_count, counted.total_size, counted.version) == (1, 2**60, 1)


async def test_file_is_stored_once(storage: StorageOperations, owner: OwnerId) -> None:
    bucket = await a_bucket(storage, owner)
    pending = await a_file(storage, owner, bucket)
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


async def test_file_location_is_unique_per_bucket(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket, other = await a_bucket(storage, owner), await a_bucket(storage, owner, "other")
    await a_file(storage, owner, bucket)
    with pytest.raises(Conflict) as caught:
        await a_file(storage, owner, bucket)
    assert caught.value.field == "location"
    await a_file(storage, owner, other)
    await a_file(storage, owner, bucket, "A.txt")
    assert (await the_bucket(storage, owner, bucket.id)).file_count == 2


async def test_file_deletion_releases_capacity_at_once(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await a_bsp(storage, owner)
    bucket = await a_bucket(storage, owner)
    file = await stored(storage, await a_file(storage, owner, bucket, replicas=1))
    await storage.begin_deletion(owner, file.id)
    await storage.begin_deletion(owner, file.id)
    assert await used(storage, owner, bsp) == [0]
    emptied = await the_bucket(storage, owner, bucket.id)
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
        await stored(storage, file)
    again = await a_file(storage, owner, bucket)
    await storage.end_deletion([file.id, again.id])
    assert await storage.files_by_id(owner, [file.id, again.id]) == [again]
    assert await storage.deleting_files(limit=10) == []


async def test_bucket_with_files_is_deleted_only_on_request(
    storage: StorageOperations, owner: OwnerId
) -> None:
    first, second = await a_bsp(storage, owner), await a_bsp(storage, owner, "second")
    bucket, other = await a_bucket(storage, owner), await a_bucket(storage, owner, "other")
    files = [
        await a_file(storage, owner, bucket, f"{number}", size=10 * number, replicas=2)
        for number in range(4)
    ]
    kept = await a_file(storage, owner, other, size=7, replicas=2)
    with pytest.raises(Conflict, match="4"):
        await storage.delete_bucket(owner, bucket.id, with_files=False)
    assert await used(storage, owner, first, second) == [67, 67]
    gone = await storage.delete_bucket(owner, bucket.id, with_files=True)
    assert set(gone) == {file.id for file in files}
    assert await storage.buckets_by_id(owner, [bucket.id]) == []
    assert await used(storage, owner, first, second) == [7, 7]
    assert set(await storage.deleting_files(limit=10)) == set(gone)
    assert (await storage.files(owner, MANY)).rows == [kept]
    assert await storage.delete_bucket(owner, other.id, with_files=True) == [kept.id]


async def test_stale_uploads_returns_pending_files(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await a_bucket(storage, owner)
    pending = await a_file(storage, owner, bucket)
    await stored(storage, await a_file(storage, owner, bucket, "stored"))
    assert await storage.stale_uploads(older_than=timedelta(hours=1), limit=9) == []
    assert await storage.stale_uploads(older_than=timedelta(0), limit=9) == [pending]
    assert await storage.stale_uploads(older_than=timedelta(0), limit=0) == []


# Bytes that come before their file


async def test_file_added_with_bytes_is_stored(storage: StorageOperations, owner: OwnerId) -> None:
    bsp, bucket = await a_bsp(storage, owner), await a_bucket(storage, owner)
    asked = NewFile(bucket.id, "a.csv", 0, "text/csv", 1)
    assert await storage.expect_file(owner, asked, source="x") is None
    upload = Upload(new_id(), new_id(), 5, HELLO)
    file = await storage.add_file(owner, asked, upload, source="x")
    assert (file.id, file.object_id, file.size) == upload[:3]
    assert (file.status, file.fingerprint, file.content_type) == ("STORED", HELLO, "text/csv")
    assert file.key == file_key(file, HELLO)
    assert await storage.files_by_id(owner, [file.id]) == [file]
    assert await used(storage, owner, bsp) == [5]
    counted = await the_bucket(storage, owner, bucket.id)
    assert (counted.file_count, counted.total_size) == (1, 5)


async def test_file_check_reports_refusal_without_changes(
    open_storage: Open, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = open_storage(Quota(bytes=10, files=3))
    bucket, public = (
        await a_bucket(storage, owner),
        await a_bucket(storage, owner, private=False, name="p"),
    )
    await a_bsp(storage, owner, capacity=4)
    file = await a_file(storage, owner, bucket)
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
    assert (await the_bucket(storage, owner, bucket.id)).total_size == 5


async def test_file_is_added_once_per_idempotency_key(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await a_bucket(storage, owner)
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
    assert (await the_bucket(storage, owner, bucket.id)).file_count == 1


# Quotas


async def test_quota_covers_all_buckets(open_storage: Open, owner: OwnerId) -> None:
    storage = open_storage(Quota(bytes=100, files=3))
    first, second = await a_bucket(storage, owner), await a_bucket(storage, owner, "second")
    file = await a_file(storage, owner, first, size=60)
    with pytest.raises(TooLarge) as caught:
        await a_file(storage, owner, second, size=41)
    assert caught.value.field == "size"
    await a_file(storage, owner, second, size=40)
    empty = await a_file(storage, owner, first, "empty", size=0)
    with pytest.raises(TooLarge, match="3"):
        await a_file(storage, owner, first, "fourth", size=0)
    await storage.begin_deletion(owner, file.id)
    await storage.begin_deletion(owner, empty.id)
    await a_file(storage, owner, second, "b", size=60)


async def test_quota_is_separate_for_each_owner(
    open_storage: Open, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = open_storage(Quota(bytes=100, files=1))
    await a_file(storage, owner, await a_bucket(storage, owner), size=100)
    await a_file(storage, other_owner, await a_bucket(storage, other_owner), size=100)


# Retries


async def test_idempotency_key_belongs_to_one_operation(
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
    assert await used(storage, owner, bsp) == [1]
    with pytest.raises(Conflict) as caught:
        await storage.create_file(owner, asked._replace(location="d"), idempotency_key="c")
    assert caught.value.field == "idempotencyKey"
