"""Bytes in a folder, and what tests look at: keys, contents, results of sweeps."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace

from db.objects.store import ObjectStore
from db.storage import FileRow, StorageOperations, SweepResult, read_bytes, sweep

DATA = os.urandom(100_000)
NONE = timedelta(0)
LONG = timedelta(days=1)


async def chunks(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def keys(objects: ObjectStore) -> list[str]:
    return sorted([one.key async for batch in objects.list("files") for one in batch])


async def content(objects: ObjectStore, file: FileRow) -> bytes:
    return b"".join([piece async for piece in read_bytes(objects, file, start=0, end=file.size)])


async def swept(
    storage: StorageOperations,
    objects: ObjectStore,
    *,
    uploads_after: timedelta = LONG,
    objects_after: timedelta = NONE,
) -> SweepResult:
    services = SimpleNamespace(storage=storage, objects=objects)
    return await sweep(services, uploads_after=uploads_after, objects_after=objects_after)
