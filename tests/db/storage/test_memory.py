"""The in-memory twin under concurrent calls, and its errors beside those of PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from db.errors import Conflict, HowdahError
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
from db.postgres.engine import Database
from db.storage import BspRow, BucketRow, FileRow, NewBsp, NewFile, Quota, StorageOperations
from db.storage.memory import MemoryStorage
from tests.db.storage.samples import make_bsp, make_bucket, make_file, store_file
from tests.fixtures.repository_storage import RepositoryStorage

QUOTA = Quota(bytes=100, files=2)
MISSING = new_id()


class Rows(NamedTuple):
    storage: StorageOperations
    owner: OwnerId
    other: OwnerId
    bsp: BspRow
    bucket: BucketRow
    stored: FileRow
    of_other: BucketRow


Call = Callable[[Rows], Awaitable[Any]]

FAILING: dict[str, Call] = {
    "account": lambda at: make_bsp(at.storage, at.owner),
    "provider with files": lambda at: at.storage.delete_bsp(at.owner, at.bsp.id),
    "capacity in use": lambda at: at.storage.update_bsp_capacity(at.owner, at.bsp.id, 1),
    "provider version": lambda at: at.storage.update_bsp_capacity(
        at.owner, at.bsp.id, 900, expected_version=9
    ),
    "missing provider": lambda at: at.storage.update_bsp_capacity(at.owner, MISSING, 900),
    "addresses": lambda at: at.storage.set_bsp_multiaddresses(at.owner, at.bsp.id, ["/tcp/1"]),
    "name": lambda at: make_bucket(at.storage, at.owner),
    "bucket version": lambda at: at.storage.update_bucket(
        at.owner, at.bucket.id, name="x", expected_version=9
    ),
    "missing bucket": lambda at: at.storage.delete_bucket(
        at.owner, MISSING, with_files=True, limit=10
    ),
    "bucket of another user": lambda at: at.storage.update_bucket(
        at.owner, at.of_other.id, name="x"
    ),
    "bucket with files": lambda at: at.storage.delete_bucket(
        at.owner, at.bucket.id, with_files=False, limit=10
    ),
    "quota of files": lambda at: make_file(at.storage, at.owner, at.bucket, "c"),
    "quota of bytes": lambda at: make_file(at.storage, at.other, at.of_other, size=101),
    "location": lambda at: at.storage.create_file(at.other, NewFile(at.of_other.id, "../c", 1)),
    "file in a bucket of another user": lambda at: make_file(at.storage, at.other, at.bucket),
    "free space": lambda at: make_file(at.storage, at.other, at.of_other, replicas=2),
    "missing file": lambda at: at.storage.begin_deletion(at.owner, MISSING),
    "file of another user": lambda at: at.storage.begin_deletion(at.other, at.stored.id),
    "second upload": lambda at: at.storage.finish_upload(
        at.stored, object_id=MISSING, fingerprint=bytes(32)
    ),
    "move of a missing file": lambda at: at.storage.move_file(at.owner, MISSING, location="c"),
    "move to another bucket": lambda at: at.storage.move_file(
        at.owner, at.stored.id, bucket_id=at.of_other.id
    ),
    "move to a location in use": lambda at: at.storage.move_file(
        at.owner, at.stored.id, location="b"
    ),
    "move of another version": lambda at: at.storage.move_file(
        at.owner, at.stored.id, location="c", expected_version=9
    ),
    "move to nowhere": lambda at: at.storage.move_file(at.owner, at.stored.id, bucket_id=None),
    "replacement beyond the quota": lambda at: at.storage.begin_replacement(
        at.owner, at.stored.id, size=96
    ),
    "replacement without space": lambda at: at.storage.begin_replacement(
        at.owner, at.stored.id, size=-1
    ),
    "replacement that was not begun": lambda at: at.storage.finish_replacement(
        at.stored, replacement_id=MISSING, object_id=MISSING, fingerprint=bytes(32)
    ),
    "cursor": lambda at: at.storage.files(at.owner, Window(1, after="x")),
    "folder": lambda at: at.storage.files_of_buckets(
        at.owner, [at.bucket.id], Window(1), under=".."
    ),
    "idempotency key": lambda at: at.storage.create_bucket(
        at.owner, "x", private=True, idempotency_key="used"
    ),
}


async def rows_in(storage: StorageOperations, owner: OwnerId, other: OwnerId) -> Rows:
    bsp = await make_bsp(storage, owner)
    bucket = await storage.create_bucket(owner, "photos", private=True, idempotency_key="used")
    stored = await store_file(storage, await make_file(storage, owner, bucket, "a", replicas=1))
    await make_file(storage, owner, bucket, "b")
    of_other = await make_bucket(storage, other, private=False)
    return Rows(storage, owner, other, bsp, bucket, stored, of_other)


@pytest.mark.parametrize("call", FAILING.values(), ids=FAILING)
async def test_errors_equal_those_of_postgresql(
    database: Database, owner: OwnerId, other_owner: OwnerId, call: Call
) -> None:
    implementations: list[StorageOperations] = [
        MemoryStorage(quota=QUOTA),
        RepositoryStorage(database, quota=QUOTA),
    ]
    errors = []
    for storage in implementations:
        rows = await rows_in(storage, owner, other_owner)
        with pytest.raises(HowdahError) as caught:
            await call(rows)
        error = caught.value
        errors.append((type(error), error.message, error.hint, error.field))
    assert errors[0] == errors[1]


async def test_concurrent_calls_keep_counters_exact() -> None:
    storage, owner = MemoryStorage(), OwnerId(new_id())
    bsp = await storage.create_bsp(owner, NewBsp("acme", 100, []))
    bucket = await make_bucket(storage, owner)

    async def create(number: int) -> FileRow:
        new = NewFile(bucket.id, f"{number % 30}", 10, None, 1)
        file = await storage.create_file(owner, new)
        if number % 3 == 0:
            await storage.begin_deletion(owner, file.id)
        return file

    answers = await asyncio.gather(*map(create, range(60)), return_exceptions=True)
    assert all(isinstance(answer, FileRow | Conflict) for answer in answers)
    files = (await storage.files(owner, Window(100))).rows
    (counted,) = await storage.buckets_by_id(owner, [bucket.id])
    (provider,) = await storage.bsps_by_id(owner, [bsp.id])
    assert len({file.id for file in files}) == len({file.location for file in files}) == 10
    assert (counted.file_count, counted.total_size) == (10, 100)
    assert (provider.used_capacity, provider.free_capacity) == (100, 0)
