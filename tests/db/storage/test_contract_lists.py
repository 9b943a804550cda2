"""The contract of lists, tested on PostgreSQL, on the twin, and with injected failures."""

from typing import Any

import pytest

from db.errors import BadInput
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
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


TREE = [
    *("top", "a", "a/1", "a/b/2", "a/b/c/3", "a-/4", "a0/5", "a/é/6", "a/\U0001f418/7"),
    *("b/1", "b/2", "Z/x/y", "a/b-/8", "a/b0/9", "a/B/10"),
]


@pytest.mark.parametrize(
    ("under", "folders", "files"),
    [
        (None, ["Z", "a-", "a", "a0", "b"], ["a", "top"]),
        ("a", ["a/B", "a/b-", "a/b", "a/b0", "a/é", "a/\U0001f418"], ["a/1"]),
        ("a/", ["a/B", "a/b-", "a/b", "a/b0", "a/é", "a/\U0001f418"], ["a/1"]),
        ("a/b", ["a/b/c"], ["a/b/2"]),
        ("b", [], ["b/1", "b/2"]),
        ("Z", ["Z/x"], []),
        ("missing", [], []),
    ],
)
async def test_one_level_of_a_bucket_has_folders_and_files_in_pages_both_ways(
    storage: StorageOperations,
    owner: OwnerId,
    under: str | None,
    folders: list[str],
    files: list[str],
) -> None:
    bucket = await make_bucket(storage, owner)
    for location in TREE:
        await make_file(storage, owner, bucket, location)
    level: dict[str, Any] = {"under": under}
    for backward in (False, True):
        walked: list[str] = []
        window = Window(2, backward=backward)
        while True:
            page = (await storage.folders_of_buckets(owner, [bucket.id], window, **level))[
                bucket.id
            ]
            paths = [folder.path for folder in page.rows]
            walked = [*paths, *walked] if backward else [*walked, *paths]
            assert [folder.name for folder in page.rows] == [one.split("/")[-1] for one in paths]
            if not (page.has_previous if backward else page.has_next):
                break
            end = page.cursor(0 if backward else -1)
            window = window._replace(before=end) if backward else window._replace(after=end)
        assert walked == folders
    counts = await storage.count_folders_of_buckets(owner, [bucket.id], **level)
    assert counts.get(bucket.id, 0) == len(folders)
    level["recursive"] = False
    found: list[str] = []
    window = Window(1)
    while True:
        in_it = (await storage.files_of_buckets(owner, [bucket.id], window, **level))[bucket.id]
        found += [file.location for file in in_it.rows]
        assert [file.name for file in in_it.rows] == [
            file.location.split("/")[-1] for file in in_it.rows
        ]
        if not in_it.has_next:
            break
        window = Window(1, after=in_it.cursor(-1))
    assert found == files
    counted = await storage.count_files_of_buckets(owner, [bucket.id], **level)
    assert counted.get(bucket.id, 0) == len(files)


async def test_folders_of_buckets_are_those_of_readable_buckets(
    storage: StorageOperations, owner: OwnerId, other_owner: OwnerId
) -> None:
    private = await make_bucket(storage, owner)
    public = await make_bucket(storage, owner, "public", private=False)
    empty = await make_bucket(storage, owner, "empty")
    for bucket in (private, public):
        for location in ("x/1", "x/2", "y/1"):
            await make_file(storage, owner, bucket, location)
    moved = await make_file(storage, owner, public, "z/1")
    await storage.move_file(owner, moved.id, location="w/1")
    ids = [private.id, public.id, empty.id, new_id()]
    for reader, expected in ((owner, ["x", "y"]), (other_owner, [])):
        pages = await storage.folders_of_buckets(reader, ids, Window(9), under=None)
        found = [[folder.path for folder in pages[one].rows] for one in ids]
        assert found == [expected, ["w", "x", "y"], [], []]
    counts = await storage.count_folders_of_buckets(other_owner, ids, under=None)
    assert counts == {public.id: 3}
    first = await storage.folders_of_buckets(owner, [public.id], Window(1), under=None)
    outside = Window(9, after=first[public.id].cursor(0))
    within = await storage.folders_of_buckets(owner, [public.id], outside, under="x")
    assert within[public.id].rows == []
    with pytest.raises(BadInput):
        await storage.folders_of_buckets(owner, [public.id], Window(1, after="x"), under=None)
    with pytest.raises(BadInput):
        await storage.folders_of_buckets(owner, [public.id], Window(1), under="../x")


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
