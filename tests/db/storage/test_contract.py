"""What storage promises, whoever keeps the rows, and however often a call has failed before."""

from datetime import timedelta
from uuid import UUID

import pytest

from db.base import OwnerId, new_id
from db.errors import BadInput, Conflict, Forbidden, NotFound, TooLarge
from db.paging import Window
from db.storage import (
    BspRow,
    BucketRow,
    FileRow,
    NewBsp,
    NewFile,
    Quota,
    StorageOperations,
    file_key,
)
from tests.fixtures.storage import Open

HELLO = bytes.fromhex("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
ADDRESS = "/ip4/203.0.113.7/tcp/30333"
MANY = Window(100)


async def a_bsp(
    storage: StorageOperations, owner: OwnerId, account: str = "acme", capacity: int = 1_000
) -> BspRow:
    return await storage.create_bsp(owner, NewBsp(account, capacity, [ADDRESS]))


async def a_bucket(
    storage: StorageOperations, owner: OwnerId, name: str = "photos", *, private: bool = True
) -> BucketRow:
    return await storage.create_bucket(owner, name, private=private)


async def a_file(
    storage: StorageOperations,
    owner: OwnerId,
    bucket: BucketRow,
    location: str = "a.txt",
    *,
    size: int = 5,
    replicas: int = 0,
) -> FileRow:
    return await storage.create_file(owner, NewFile(bucket.id, location, size, None, replicas))


async def stored(storage: StorageOperations, file: FileRow) -> FileRow:
    return await storage.finish_upload(file, object_id=new_id(), fingerprint=HELLO)


async def the_bucket(storage: StorageOperations, owner: OwnerId, bucket_id: UUID) -> BucketRow:
    (bucket,) = await storage.buckets_by_id(owner, [bucket_id])
    return bucket


async def used(storage: StorageOperations, owner: OwnerId, *bsps: BspRow) -> list[int]:
    found = {bsp.id: bsp for bsp in await storage.bsps_by_id(owner, [one.id for one in bsps])}
    return [found[bsp.id].used_capacity for bsp in bsps]


# Providers


async def test_a_provider_is_kept_in_canonical_form(
    storage: StorageOperations, owner: OwnerId
) -> None:
    given = NewBsp(
        " acme ", 2**63 - 1, ["/ip6/FE80::0001/udp/1/quic-v1", "/dns4/BSP.example/tcp/1"]
    )
    bsp = await storage.create_bsp(owner, given)
    assert (bsp.account, bsp.capacity, bsp.version) == ("acme", 2**63 - 1, 1)
    assert (bsp.used_capacity, bsp.free_capacity) == (0, 2**63 - 1)
    assert bsp.multiaddresses == ["/ip6/fe80::1/udp/1/quic-v1", "/dns4/bsp.example/tcp/1"]
    assert await storage.bsps_by_id(owner, [bsp.id, new_id()]) == [bsp]


async def test_an_account_has_one_provider(storage: StorageOperations, owner: OwnerId) -> None:
    await a_bsp(storage, owner)
    with pytest.raises(Conflict) as caught:
        await a_bsp(storage, owner)
    assert caught.value.field == "account"
    assert await storage.count_bsps(owner) == 1


async def test_capacity_never_falls_under_what_is_used(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await a_bsp(storage, owner)
    await a_file(storage, owner, await a_bucket(storage, owner), size=700, replicas=1)
    with pytest.raises(Conflict, match="700 bytes") as caught:
        await storage.update_bsp_capacity(owner, bsp.id, 699)
    assert caught.value.field == "capacity"
    changed = await storage.update_bsp_capacity(owner, bsp.id, 700, expected_version=1)
    assert (changed.capacity, changed.free_capacity, changed.version) == (700, 0, 2)
    with pytest.raises(Conflict) as caught:
        await storage.update_bsp_capacity(owner, bsp.id, 800, expected_version=1)
    assert caught.value.field == "expectedVersion"
    with pytest.raises(NotFound):
        await storage.update_bsp_capacity(owner, new_id(), 1)


async def test_addresses_are_replaced(storage: StorageOperations, owner: OwnerId) -> None:
    bsp = await a_bsp(storage, owner)
    changed = await storage.set_bsp_multiaddresses(owner, bsp.id, ["/dns/b.example/tcp/1"])
    assert (changed.multiaddresses, changed.version) == (["/dns/b.example/tcp/1"], 2)
    with pytest.raises(NotFound):
        await storage.set_bsp_multiaddresses(owner, new_id(), [])


async def test_a_provider_that_keeps_files_stays(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await a_bsp(storage, owner)
    file = await a_file(storage, owner, await a_bucket(storage, owner), replicas=1)
    with pytest.raises(Conflict):
        await storage.delete_bsp(owner, bsp.id)
    await storage.begin_deletion(owner, file.id)
    await storage.delete_bsp(owner, bsp.id)
    assert await storage.count_bsps(owner) == 0
    with pytest.raises(NotFound):
        await storage.delete_bsp(owner, bsp.id)


# Placement


async def test_replicas_go_where_there_is_most_room(
    storage: StorageOperations, owner: OwnerId
) -> None:
    small = await a_bsp(storage, owner, "small", 100)
    large = await a_bsp(storage, owner, "large", 300)
    middle = await a_bsp(storage, owner, "middle", 200)
    bucket = await a_bucket(storage, owner)
    first = await a_file(storage, owner, bucket, "1", size=90, replicas=2)
    second = await a_file(storage, owner, bucket, "2", size=90, replicas=2)
    assert await used(storage, owner, small, middle, large) == [0, 180, 180]
    third = await a_file(storage, owner, bucket, "3", size=100, replicas=2)
    placed = await storage.bsps_of_files(owner, [first.id, second.id, third.id, new_id()])
    assert placed[first.id] == placed[second.id] == sorted([large.id, middle.id])
    assert placed[third.id] == sorted([large.id, small.id])
    assert await used(storage, owner, small, middle, large) == [100, 180, 280]


async def test_what_does_not_fit_is_refused_whole(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await a_bsp(storage, owner, capacity=10)
    bucket = await a_bucket(storage, owner)
    for size, replicas in ((11, 1), (10, 2)):
        with pytest.raises(Conflict) as caught:
            await a_file(storage, owner, bucket, size=size, replicas=replicas)
        assert caught.value.field == "desiredReplicas"
    assert await used(storage, owner, bsp) == [0]
    assert (await the_bucket(storage, owner, bucket.id)).file_count == 0
    await a_file(storage, owner, bucket, size=10, replicas=1)
    assert await used(storage, owner, bsp) == [10]


# Buckets


async def test_a_bucket_starts_empty(storage: StorageOperations, owner: OwnerId) -> None:
    bucket = await a_bucket(storage, owner, " photos ")
    assert (bucket.name, bucket.private, bucket.version) == ("photos", True, 1)
    assert (bucket.file_count, bucket.total_size) == (0, 0)
    assert await the_bucket(storage, owner, bucket.id) == bucket


async def test_names_are_unique_per_owner(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    await a_bucket(storage, owner)
    second = await a_bucket(storage, owner, "second")
    with pytest.raises(Conflict) as caught:
        await a_bucket(storage, owner)
    assert caught.value.field == "name"
    with pytest.raises(Conflict):
        await storage.rename_bucket(owner, second.id, "photos")
    await a_bucket(storage, other_owner)
    assert await storage.count_buckets(owner) == 2


async def test_a_bucket_is_renamed_once_per_version(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await a_bucket(storage, owner)
    renamed = await storage.rename_bucket(owner, bucket.id, "films", expected_version=1)
    assert (renamed.name, renamed.version) == ("films", 2)
    with pytest.raises(Conflict):
        await storage.rename_bucket(owner, bucket.id, "music", expected_version=1)


async def test_another_s_private_bucket_is_absent_and_not_mine_to_change(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    bucket = await a_bucket(storage, other_owner)
    file = await stored(storage, await a_file(storage, other_owner, bucket))
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
    await _nothing_changes(storage, owner, bucket, file)
    assert await storage.files_by_id(other_owner, [file.id]) == [file]


async def test_a_public_bucket_is_everyone_s_to_read_and_its_owner_s_to_change(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    bsp = await a_bsp(storage, other_owner)
    bucket = await a_bucket(storage, other_owner, private=False)
    file = await stored(storage, await a_file(storage, other_owner, bucket, replicas=1))
    bucket = await the_bucket(storage, owner, bucket.id)
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
    await _nothing_changes(storage, owner, bucket, file)


async def _nothing_changes(
    storage: StorageOperations, stranger: OwnerId, bucket: BucketRow, file: FileRow
) -> None:
    with pytest.raises(Forbidden):
        await storage.rename_bucket(stranger, bucket.id, "mine now")
    with pytest.raises(Forbidden):
        await storage.delete_bucket(stranger, bucket.id, with_files=True)
    with pytest.raises(Forbidden) as caught:
        await a_file(storage, stranger, bucket, "smuggled")
    assert caught.value.field == "bucketId"
    with pytest.raises(Forbidden):
        await storage.begin_deletion(stranger, file.id)


async def test_what_is_not_there_is_not_found(storage: StorageOperations, owner: OwnerId) -> None:
    bucket = await a_bucket(storage, owner)
    with pytest.raises(NotFound):
        await storage.rename_bucket(owner, new_id(), "x")
    with pytest.raises(NotFound):
        await storage.delete_bucket(owner, new_id(), with_files=False)
    with pytest.raises(NotFound) as caught:
        await a_file(storage, owner, bucket._replace(id=new_id()))
    assert caught.value.field == "bucketId"
    with pytest.raises(NotFound):
        await storage.begin_deletion(owner, new_id())
    assert await storage.file_by_key(owner, HELLO) is None


# Files


async def test_a_file_waits_for_its_bytes(storage: StorageOperations, owner: OwnerId) -> None:
    bucket = await a_bucket(storage, owner)
    file = await a_file(storage, owner, bucket, "reports/may.txt", size=2**60)
    assert (file.status, file.size, file.bucket_id) == ("PENDING", 2**60, bucket.id)
    assert (file.key, file.fingerprint, file.object_id) == (None, None, None)
    assert file.content_type == "application/octet-stream"
    assert await storage.files_by_id(owner, [file.id]) == [file]
    counted = await the_bucket(storage, owner, bucket.id)
    assert (counted.file_count, counted.total_size, counted.version) == (1, 2**60, 1)


async def test_bytes_make_it_stored_once(storage: StorageOperations, owner: OwnerId) -> None:
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


async def test_a_location_is_taken_once_per_bucket(
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


async def test_deletion_frees_everything_at_once(
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


async def test_a_full_bucket_goes_only_with_its_files(
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


async def test_a_wait_without_end_is_noticed(storage: StorageOperations, owner: OwnerId) -> None:
    bucket = await a_bucket(storage, owner)
    pending = await a_file(storage, owner, bucket)
    await stored(storage, await a_file(storage, owner, bucket, "stored"))
    assert await storage.stale_uploads(older_than=timedelta(hours=1), limit=9) == []
    assert await storage.stale_uploads(older_than=timedelta(0), limit=9) == [pending]
    assert await storage.stale_uploads(older_than=timedelta(0), limit=0) == []


# Quotas


async def test_quotas_hold_over_all_buckets(open_storage: Open, owner: OwnerId) -> None:
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


async def test_a_quota_is_one_user_s(
    open_storage: Open, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = open_storage(Quota(bytes=100, files=1))
    await a_file(storage, owner, await a_bucket(storage, owner), size=100)
    await a_file(storage, other_owner, await a_bucket(storage, other_owner), size=100)


# Retries


async def test_one_key_is_one_thing(storage: StorageOperations, owner: OwnerId) -> None:
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


# Lists


async def test_lists_are_newest_first_and_page_both_ways(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await a_bucket(storage, owner)
    files = [await a_file(storage, owner, bucket, f"{number}") for number in range(5)]
    newest = files[::-1]
    first = await storage.files(owner, Window(2))
    assert (first.rows, first.has_next, first.has_previous) == (newest[:2], True, False)
    second = await storage.files(owner, Window(2, after=first.cursor(1)))
    assert (second.rows, second.has_next, second.has_previous) == (newest[2:4], True, True)
    back = await storage.files(owner, Window(9, backward=True, before=second.cursor(0)))
    assert (back.rows, back.has_previous) == (newest[:2], False)
    last = await storage.files(owner, Window(1, backward=True))
    assert (last.rows, last.has_previous) == (newest[4:], True)
    for number in range(3):
        await a_bucket(storage, owner, f"{number}")
        await a_bsp(storage, owner, f"{number}")
    buckets, bsps = await storage.buckets(owner, Window(2)), await storage.bsps(owner, Window(2))
    assert [found.name for found in buckets.rows] == ["2", "1"]
    assert [found.account for found in bsps.rows] == ["2", "1"]
    with pytest.raises(BadInput):
        await storage.bsps(owner, Window(2, after="nonsense"))


async def test_a_bucket_s_files_stand_by_location(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await a_bucket(storage, owner)
    locations = ["b/a", "b-a", "a", "b", "é", "b0", "b/B/c", "Z", "b/a/b", "\U0001f418"]
    for location in locations:
        await a_file(storage, owner, bucket, location)
    walked: list[str] = []
    window = Window(3)
    while True:
        pages = await storage.files_of_buckets(owner, [bucket.id], window, under=None)
        page = pages[bucket.id]
        walked += [file.location for file in page.rows]
        if not page.has_next:
            break
        window = Window(3, after=page.cursor(-1))
    assert walked == sorted(locations)


@pytest.mark.parametrize(
    ("under", "expected"),
    [
        ("b", ["b/B/c", "b/a", "b/a/b"]),
        ("b/", ["b/B/c", "b/a", "b/a/b"]),
        ("b/a", ["b/a/b"]),
        ("a", []),
        ("%", []),
    ],
)
async def test_a_folder_is_all_within_it(
    storage: StorageOperations, owner: OwnerId, under: str, expected: list[str]
) -> None:
    bucket = await a_bucket(storage, owner)
    for location in ("b/a", "b-a", "b", "b0", "b/B/c", "b/a/b", "c/b/a"):
        await a_file(storage, owner, bucket, location)
    pages = await storage.files_of_buckets(owner, [bucket.id], MANY, under=under)
    assert [file.location for file in pages[bucket.id].rows] == expected
    counts = await storage.count_files_of_buckets(owner, [bucket.id], under=under)
    assert counts.get(bucket.id, 0) == len(expected)


async def test_each_of_many_gets_its_own_page(storage: StorageOperations, owner: OwnerId) -> None:
    bsps = [await a_bsp(storage, owner, f"{number}") for number in range(2)]
    buckets = [await a_bucket(storage, owner, f"{number}") for number in range(3)]
    files = {
        bucket.id: [
            await a_file(storage, owner, bucket, f"{number}", replicas=2) for number in range(4)
        ]
        for bucket in buckets[:2]
    }
    ids = [bucket.id for bucket in buckets]
    pages = await storage.files_of_buckets(owner, [*ids, new_id()], Window(2), under=None)
    assert [list(pages[bucket.id].rows) for bucket in buckets] == [
        files[ids[0]][:2],
        files[ids[1]][:2],
        [],
    ]
    assert [pages[one].has_next for one in ids] == [True, True, False]
    last = await storage.files_of_buckets(owner, ids, Window(1, backward=True), under=None)
    assert [file.location for file in last[ids[1]].rows] == ["3"]
    counts = await storage.count_files_of_buckets(owner, ids, under=None)
    assert counts == {ids[0]: 4, ids[1]: 4}
    kept = await storage.files_of_bsps(owner, [bsp.id for bsp in bsps], Window(3))
    newest = [*files[ids[0]], *files[ids[1]]][::-1]
    assert [list(kept[bsp.id].rows) for bsp in bsps] == [newest[:3], newest[:3]]
    assert await storage.count_files_of_bsps(owner, [bsps[0].id]) == {bsps[0].id: 8}
