"""Moves, replacements, uploads and deletions of one file at once, from two pools."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import pytest

from db.errors import Conflict
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database, open_database
from db.storage import BucketRow, FileRow, NewBsp, NewFile, file_key
from tests.db.storage.test_postgres import drift, outcomes
from tests.fixtures.repository_storage import RepositoryStorage

FIRST, SECOND = bytes([1]) * 32, bytes([2]) * 32


@pytest.fixture
async def storages(committed: Database, committed_url: str) -> AsyncIterator[Any]:
    """Storage on two pools, as of two replicas of Howdah."""
    other = await open_database(committed_url, pool_size=8)
    yield RepositoryStorage(committed), RepositoryStorage(other)
    await other.close()


@pytest.fixture
async def buckets(storages: Sequence[RepositoryStorage], committed_owner: OwnerId) -> Any:
    storage = storages[0]
    for number in range(4):
        await storage.create_bsp(committed_owner, NewBsp(f"{number}", 10_000, []))
    return [
        await storage.create_bucket(committed_owner, f"{one}", private=True) for one in range(2)
    ]


async def make(storage: RepositoryStorage, owner: OwnerId, bucket: BucketRow, at: str) -> FileRow:
    return await storage.create_file(owner, NewFile(bucket.id, at, 10, None, 2))


async def store(storage: RepositoryStorage, file: FileRow, fingerprint: bytes) -> FileRow:
    return await storage.finish_upload(file, object_id=new_id(), fingerprint=fingerprint)


async def finish(storage: RepositoryStorage, begun: FileRow, fingerprint: bytes) -> FileRow:
    assert begun.replacement_id is not None
    return await storage.finish_replacement(
        begun,
        replacement_id=begun.replacement_id,
        object_id=new_id(),
        fingerprint=fingerprint,
    )


async def test_two_replacements_at_once_switch_to_the_later_one(
    storages: Sequence[RepositoryStorage], buckets: list[BucketRow], committed_owner: OwnerId
) -> None:
    one, two = storages
    for round in range(5):
        pending = await make(one, committed_owner, buckets[0], f"{round}")
        file = await store(one, pending, FIRST)

        async def replace(storage: RepositoryStorage, size: int, file: FileRow = file) -> FileRow:
            begun = await storage.begin_replacement(committed_owner, file.id, size=size)
            return await finish(storage, begun, bytes([size]) * 32)

        answers = await outcomes(replace(one, 20), replace(two, 30))
        done = [answer for answer in answers if isinstance(answer, FileRow)]
        assert done, answers
        (now,) = await one.known_files([file.id])
        assert now in done
        assert now.fingerprint == bytes([now.size]) * 32
        assert now.key == file_key(now, now.fingerprint)
        assert await drift(one.database) == []


async def test_replacements_of_one_version_are_not_lost_in_silence(
    storages: Sequence[RepositoryStorage], buckets: list[BucketRow], committed_owner: OwnerId
) -> None:
    file = await store(
        storages[0], await make(storages[0], committed_owner, buckets[0], "a"), FIRST
    )

    async def replace(storage: RepositoryStorage, size: int) -> FileRow:
        begun = await storage.begin_replacement(
            committed_owner, file.id, size=size, expected_version=file.version
        )
        return await finish(storage, begun, bytes([size]) * 32)

    answers = await outcomes(*(replace(storages[one % 2], 20 + one) for one in range(6)))
    assert sum(isinstance(answer, FileRow) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 5


async def test_move_during_an_upload_gives_the_key_of_the_location(
    storages: Sequence[RepositoryStorage], buckets: list[BucketRow], committed_owner: OwnerId
) -> None:
    one, two = storages
    for number in range(10):
        file = await make(one, committed_owner, buckets[0], f"{number}")
        to: dict[str, Any] = {"bucket_id": buckets[1].id, "location": f"moved/{number}"}
        await asyncio.gather(store(one, file, FIRST), two.move_file(committed_owner, file.id, **to))
        (now,) = await one.known_files([file.id])
        assert (now.bucket_id, now.location, now.status) == (*to.values(), "STORED")
        assert now.key == file_key(now, FIRST)
    assert await drift(one.database) == []


async def test_concurrent_changes_of_files_keep_counters_exact_without_deadlocks(
    storages: Sequence[RepositoryStorage],
    buckets: list[BucketRow],
    committed_owner: OwnerId,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each file is moved twice, replaced and deleted at once: the deletion always wins."""
    caplog.set_level("INFO", logger="db.postgres.engine")
    one, two = storages
    calls: list[Awaitable[Any]] = []
    deleted, kept = [], []
    for number in range(12):
        file = await store(
            one, await make(one, committed_owner, buckets[number % 2], f"{number}"), FIRST
        )
        begun = await one.begin_replacement(committed_owner, file.id, size=number * 3)
        calls += [
            two.move_file(committed_owner, file.id, bucket_id=buckets[0].id),
            one.move_file(committed_owner, file.id, bucket_id=buckets[1].id),
            finish(two, begun, SECOND),
        ]
        if number % 3:
            calls.append(two.begin_deletion(committed_owner, file.id))
            deleted.append(file.id)
        else:
            kept.append(file.id)
    await outcomes(*calls)
    assert await drift(one.database) == []
    assert {file.status for file in await one.known_files(deleted)} == {"DELETING"}
    for file in await one.known_files(kept):
        assert (file.fingerprint, file.key) == (SECOND, file_key(file, SECOND))
    assert "retrying a transaction" not in caplog.text
