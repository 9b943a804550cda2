"""The contract of moving and replacing files, on PostgreSQL, the twin, and with failures."""

from datetime import timedelta
from typing import Any

import pytest

from db.errors import BadInput, Conflict, Forbidden, NotFound, TooLarge
from db.kit.base import OwnerId, new_id
from db.storage import (
    ChunkRow,
    ExpectedUpload,
    Quota,
    StorageOperations,
    file_key,
    has_new_name,
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

OTHER = bytes(range(32))


async def counters(storage: StorageOperations, owner: OwnerId, *ids: Any) -> list[tuple[int, int]]:
    buckets = [await read_bucket(storage, owner, one) for one in ids]
    return [(bucket.file_count, bucket.total_size) for bucket in buckets]


async def test_move_file_changes_bucket_location_and_key(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, owner)
    one, two = await make_bucket(storage, owner), await make_bucket(storage, owner, "two")
    file = await store_file(storage, await make_file(storage, owner, one, "in/é.txt", replicas=1))
    assert (file.version, has_new_name(file)) == (2, False)
    moved = await storage.move_file(
        owner, file.id, bucket_id=two.id, location="out/ü.txt", expected_version=2
    )
    assert (moved.bucket_id, moved.location, moved.version) == (two.id, "out/ü.txt", 3)
    assert moved.key == file_key(moved, HELLO) != file.key
    assert moved.object_id == file.object_id
    assert has_new_name(moved)
    assert await counters(storage, owner, one.id, two.id) == [(0, 0), (1, 5)]
    assert await used_capacities(storage, owner, bsp) == [5]
    assert await storage.bsps_of_files(owner, [file.id]) == {file.id: [bsp.id]}
    again = await storage.move_file(
        owner, file.id, bucket_id=two.id, location="out/ü.txt", expected_version=2
    )
    assert again == moved
    back = await storage.move_file(owner, file.id, location="in/é.txt")
    assert (back.bucket_id, has_new_name(back)) == (two.id, False)
    await make_file(storage, owner, one, "in/é.txt")


async def test_move_file_rejects_what_is_not_possible(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    one, two = await make_bucket(storage, owner), await make_bucket(storage, owner, "two")
    theirs = await make_bucket(storage, other_owner, private=False)
    file, taken = await make_file(storage, owner, one), await make_file(storage, owner, two, "b")
    deleted = await make_file(storage, owner, one, "gone")
    await storage.begin_deletion(owner, deleted.id)
    refused: list[tuple[OwnerId, Any, dict[str, Any], type[Exception], str]] = [
        (owner, file.id, {"bucket_id": two.id, "location": taken.location}, Conflict, "location"),
        (owner, file.id, {"location": "x", "expected_version": 9}, Conflict, "expectedVersion"),
        (owner, file.id, {"location": "../x"}, BadInput, "location"),
        (owner, file.id, {"location": None}, BadInput, "location"),
        (owner, file.id, {"bucket_id": None}, BadInput, "bucketId"),
        (owner, file.id, {"bucket_id": new_id()}, NotFound, "bucketId"),
        (owner, file.id, {"bucket_id": theirs.id}, Forbidden, "bucketId"),
        (owner, new_id(), {"location": "x"}, NotFound, "id"),
        (owner, deleted.id, {"location": "x"}, NotFound, "id"),
        (other_owner, file.id, {"bucket_id": theirs.id}, Forbidden, "id"),
    ]
    for mover, file_id, changes, error, field in refused:
        with pytest.raises(error) as caught:
            await storage.move_file(mover, file_id, **changes)
        assert getattr(caught.value, "field", None) == field, changes
    assert await storage.files_by_id(owner, [file.id]) == [file]
    assert await counters(storage, owner, one.id, two.id) == [(1, 5), (1, 5)]


async def test_finish_upload_after_a_move_has_the_key_of_the_new_location(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    pending = await make_file(storage, owner, bucket, "old.txt")
    await storage.move_file(owner, pending.id, location="new.txt")
    stored = await store_file(storage, pending)
    assert (stored.location, stored.key) == ("new.txt", file_key(stored, HELLO))
    assert has_new_name(stored)


async def test_replacement_switches_bytes_and_counters_at_its_end(
    storage: StorageOperations, owner: OwnerId
) -> None:
    small = await make_bsp(storage, owner, "small", capacity=6)
    large = await make_bsp(storage, owner, "large", capacity=5)
    bucket = await make_bucket(storage, owner)
    file = await store_file(storage, await make_file(storage, owner, bucket, replicas=1))
    assert await used_capacities(storage, owner, small, large) == [5, 0]
    await storage.update_bsp_capacity(owner, large.id, 100)
    begun = await storage.begin_replacement(
        owner, file.id, size=8, content_type="text/csv", expected_version=2
    )
    assert begun.replacement_id is not None
    assert (begun.version, begun.size, begun.fingerprint, begun.key) == (2, 5, HELLO, file.key)
    assert await counters(storage, owner, bucket.id) == [(1, 5)]
    upload = new_id()
    switched = await storage.finish_replacement(
        begun, replacement_id=begun.replacement_id, object_id=upload, fingerprint=OTHER
    )
    assert (switched.size, switched.content_type, switched.version) == (8, "text/csv", 3)
    assert (switched.object_id, switched.previous_object_id) == (upload, file.object_id)
    assert (switched.replacement_size, switched.key) == (None, file_key(switched, OTHER))
    assert await counters(storage, owner, bucket.id) == [(1, 8)]
    assert await used_capacities(storage, owner, small, large) == [0, 8]
    await storage.cancel_replacement(begun, replacement_id=begun.replacement_id)  # it is complete
    again = await storage.finish_replacement(
        begun, replacement_id=begun.replacement_id, object_id=new_id(), fingerprint=OTHER
    )
    assert again == switched
    with pytest.raises(Conflict):
        await storage.finish_replacement(
            begun, replacement_id=begun.replacement_id, object_id=new_id(), fingerprint=HELLO
        )


async def test_begin_replacement_rejects_what_is_not_possible(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    bsp, bucket = await make_bsp(storage, owner, capacity=9), await make_bucket(storage, owner)
    pending = await make_file(storage, owner, bucket, "pending")
    file = await store_file(storage, await make_file(storage, owner, bucket, replicas=1))
    refused: list[tuple[OwnerId, Any, dict[str, Any], type[Exception], str]] = [
        (owner, pending.id, {"size": 1}, Conflict, "id"),
        (owner, new_id(), {"size": 1}, NotFound, "id"),
        (other_owner, file.id, {"size": 1}, Forbidden, "id"),
        (owner, file.id, {"size": -1}, BadInput, "size"),
        (owner, file.id, {"size": 1, "content_type": "x"}, BadInput, "contentType"),
        (owner, file.id, {"size": 1, "expected_version": 1}, Conflict, "expectedVersion"),
        (owner, file.id, {"size": 10}, Conflict, "desiredReplicas"),
    ]
    for caller, file_id, values, error, field in refused:
        with pytest.raises(error) as caught:
            await storage.begin_replacement(caller, file_id, **values)
        assert getattr(caught.value, "field", None) == field, values
    assert await storage.files_by_id(owner, [file.id]) == [file]
    await storage.begin_replacement(owner, file.id, size=9)
    assert await used_capacities(storage, owner, bsp) == [5]


async def test_replacement_without_space_at_its_end_keeps_the_old_bytes(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp, bucket = await make_bsp(storage, owner, capacity=20), await make_bucket(storage, owner)
    file = await store_file(storage, await make_file(storage, owner, bucket, replicas=1))
    begun = await storage.begin_replacement(owner, file.id, size=20)
    await make_file(storage, owner, bucket, "other", size=10, replicas=1)
    assert begun.replacement_id is not None
    with pytest.raises(Conflict) as caught:
        await storage.finish_replacement(
            begun, replacement_id=begun.replacement_id, object_id=new_id(), fingerprint=OTHER
        )
    assert caught.value.field == "desiredReplicas"
    assert await storage.files_by_id(owner, [file.id]) == [begun]
    assert await used_capacities(storage, owner, bsp) == [15]
    assert await counters(storage, owner, bucket.id) == [(2, 15)]


async def test_quota_counts_the_larger_size_of_a_replacement(
    open_storage: Open, owner: OwnerId
) -> None:
    storage = open_storage(Quota(bytes=100, files=2))
    bucket = await make_bucket(storage, owner)
    file = await store_file(storage, await make_file(storage, owner, bucket, size=40))
    await storage.begin_replacement(owner, file.id, size=100)
    await storage.begin_replacement(owner, file.id, size=90)
    with pytest.raises(TooLarge):
        await storage.begin_replacement(owner, file.id, size=101)
    with pytest.raises(TooLarge):
        await make_file(storage, owner, bucket, "b", size=11)
    smaller = await storage.begin_replacement(owner, file.id, size=1)
    with pytest.raises(TooLarge):
        await make_file(storage, owner, bucket, "b", size=61)
    assert smaller.replacement_id is not None
    await storage.cancel_replacement(smaller, replacement_id=smaller.replacement_id)
    await make_file(storage, owner, bucket, "b", size=60)


async def test_superseded_cancelled_or_stale_replacement_is_refused(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    file = await store_file(storage, await make_file(storage, owner, bucket))

    async def is_refused(begun: Any) -> None:
        with pytest.raises(Conflict):
            await storage.finish_replacement(
                begun, replacement_id=begun.replacement_id, object_id=new_id(), fingerprint=OTHER
            )

    first = await storage.begin_replacement(owner, file.id, size=7)
    second = await storage.begin_replacement(owner, file.id, size=7)
    await is_refused(first)
    await storage.cancel_replacement(second, replacement_id=first.replacement_id or new_id())
    await storage.cancel_replacement(second, replacement_id=second.replacement_id or new_id())
    await is_refused(second)
    third = await storage.begin_replacement(owner, file.id, size=7)
    assert await storage.cancel_stale_replacements(older_than=timedelta(hours=1)) == 0
    assert await storage.cancel_stale_replacements(older_than=timedelta(0)) == 1
    await is_refused(third)
    (kept,) = (await storage.files(owner, MANY)).rows
    assert (kept.key, kept.version, kept.replacement_size) == (file.key, 2, None)


# Chunks of resumable uploads


async def test_chunks_continue_each_other_until_the_upload_ends(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    upload = ExpectedUpload(await make_file(storage, owner, bucket))

    def chunk(position: int, size: int) -> ChunkRow:
        return ChunkRow(upload.file.id, upload.id, position, size, new_id())

    first, second = chunk(0, 2), chunk(2, 3)
    assert not await storage.append_chunk(upload, chunk(1, 2))
    assert await storage.append_chunk(upload, first)
    for refused in (chunk(0, 2), chunk(1, 1), chunk(3, 1)):
        assert not await storage.append_chunk(upload, refused)
    assert await storage.append_chunk(upload, second)
    assert await storage.chunks_of(upload) == [first, second]
    known = await storage.known_chunks([second.object_id, new_id()])
    assert known == {second.object_id}
    assert await storage.remove_stale_chunks() == 0
    stored = await store_file(storage, upload.file)
    assert not await storage.append_chunk(upload, chunk(5, 1))
    assert await storage.remove_stale_chunks() == 2
    assert await storage.chunks_of(upload) == []
    begun = await storage.begin_replacement(owner, stored.id, size=5)
    replacing = ExpectedUpload(begun, begun.replacement_id)
    new = ChunkRow(begun.id, replacing.id, 0, 5, new_id())
    assert not await storage.append_chunk(upload, chunk(0, 1))
    assert await storage.append_chunk(replacing, new)
    await storage.begin_replacement(owner, stored.id, size=5)
    assert not await storage.append_chunk(replacing, new._replace(position=5))
    assert await storage.clear_chunks(replacing) == [new]
    assert await storage.chunks_of(replacing) == []
