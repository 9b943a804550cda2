"""The contract of lists, tested on PostgreSQL, on the twin, and with injected failures."""

import pytest

from db.errors import BadInput
from db.kit.base import OwnerId, new_id
from db.kit.paging import Window
from db.storage import (
    StorageOperations,
)
from tests.db.storage.samples import MANY, make_bsp, make_bucket, make_file


async def test_lists_are_newest_first_and_page_both_ways(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    files = [await make_file(storage, owner, bucket, f"{number}") for number in range(5)]
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
        await make_bucket(storage, owner, f"{number}")
        await make_bsp(storage, owner, f"{number}")
    buckets, bsps = await storage.buckets(owner, Window(2)), await storage.bsps(owner, Window(2))
    assert [found.name for found in buckets.rows] == ["2", "1"]
    assert [found.account for found in bsps.rows] == ["2", "1"]
    with pytest.raises(BadInput):
        await storage.bsps(owner, Window(2, after="nonsense"))


async def test_files_of_buckets_are_sorted_by_location(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bucket = await make_bucket(storage, owner)
    locations = ["b/a", "b-a", "a", "b", "é", "b0", "b/B/c", "Z", "b/a/b", "\U0001f418"]
    for location in locations:
        await make_file(storage, owner, bucket, location)
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
async def test_files_of_buckets_under_a_folder_include_subfolders(
    storage: StorageOperations, owner: OwnerId, under: str, expected: list[str]
) -> None:
    bucket = await make_bucket(storage, owner)
    for location in ("b/a", "b-a", "b", "b0", "b/B/c", "b/a/b", "c/b/a"):
        await make_file(storage, owner, bucket, location)
    pages = await storage.files_of_buckets(owner, [bucket.id], MANY, under=under)
    assert [file.location for file in pages[bucket.id].rows] == expected
    counts = await storage.count_files_of_buckets(owner, [bucket.id], under=under)
    assert counts.get(bucket.id, 0) == len(expected)


async def test_files_of_parents_return_a_page_for_each(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsps = [await make_bsp(storage, owner, f"{number}") for number in range(2)]
    buckets = [await make_bucket(storage, owner, f"{number}") for number in range(3)]
    files = {
        bucket.id: [
            await make_file(storage, owner, bucket, f"{number}", replicas=2) for number in range(4)
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
