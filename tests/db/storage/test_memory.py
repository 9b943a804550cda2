"""The in-memory twin under concurrent calls. The contract tests compare it with PostgreSQL."""

import asyncio

from db.errors import Conflict
from db.kit.base import OwnerId, new_id
from db.kit.paging import Window
from db.storage import FileRow, NewBsp, NewFile, StorageOperations
from db.storage.memory import MemoryStorage
from tests.fixtures.repository_storage import RepositoryStorage

IMPLEMENTATIONS: list[type[StorageOperations]] = [MemoryStorage, RepositoryStorage]
"""For mypy, which compares their signatures with the protocol's."""


async def test_concurrent_calls_keep_counters_exact() -> None:
    storage, owner = MemoryStorage(), OwnerId(new_id())
    bsp = await storage.create_bsp(owner, NewBsp("acme", 100, []))
    bucket = await storage.create_bucket(owner, "b", private=True)

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
