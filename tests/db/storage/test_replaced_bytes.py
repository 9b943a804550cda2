"""Bytes that replace others: the switch, and what remains of the old ones."""

import os
from collections.abc import AsyncIterator

import pytest

from db.errors import BadInput, Conflict, NotFound, Unavailable
from db.objects.store import ObjectStore
from db.storage import FileRow, StorageOperations, SweepResult, store_bytes
from tests.db.storage.byte_samples import DATA, LONG, NONE, chunks, content, keys, swept

NEW = os.urandom(70_000)


async def replacing(storage: StorageOperations, file: FileRow, size: int) -> FileRow:
    return await storage.begin_replacement(file.owner_id, file.id, size=size)


async def test_store_bytes_of_a_replacement_switches_once_they_are_whole(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    begun = await replacing(storage, stored, len(NEW))

    async def breaking() -> AsyncIterator[bytes]:
        yield NEW[:50_000]
        raise ConnectionResetError

    async def observed() -> AsyncIterator[bytes]:
        async for chunk in chunks(NEW):
            (now,) = await storage.known_files([stored.id])
            assert await content(folder, now) == DATA
            yield chunk

    new = begun.replacement_id
    for broken in (breaking(), chunks(NEW[:-1]), chunks(NEW + b"x")):
        with pytest.raises((ConnectionResetError, Unavailable, BadInput)):
            await store_bytes(storage, folder, begun, broken, replacement_id=new)
        assert await content(folder, stored) == DATA
        assert await storage.known_files([stored.id]) == [begun]
    switched = await store_bytes(storage, folder, begun, observed(), replacement_id=new)
    assert await content(folder, switched) == NEW
    assert await content(folder, stored) == DATA  # a running download
    again = await store_bytes(storage, folder, begun, chunks(NEW), replacement_id=new)
    assert again == switched
    assert len(await keys(folder)) == 2


async def test_replaced_bytes_are_swept_after_running_downloads(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    file = await store_bytes(storage, folder, pending, chunks(DATA))
    for data in (NEW, DATA, NEW):
        begun = await replacing(storage, file, len(data))
        file = await store_bytes(
            storage, folder, begun, chunks(data), replacement_id=begun.replacement_id
        )
        assert len(await keys(folder)) == 2
    assert (await swept(storage, folder, objects_after=LONG)).objects == 0
    assert await swept(storage, folder) == SweepResult(0, 0, 1, 0)
    assert await content(folder, file) == NEW


async def test_replacement_of_a_file_deleted_meanwhile_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    begun = await replacing(storage, stored, len(NEW))

    async def slowly() -> AsyncIterator[bytes]:
        yield NEW[:50_000]
        await storage.begin_deletion(stored.owner_id, stored.id)
        yield NEW[50_000:]

    with pytest.raises(NotFound):
        await store_bytes(storage, folder, begun, slowly(), replacement_id=begun.replacement_id)
    await swept(storage, folder)
    assert await keys(folder) == []
    assert await storage.known_files([stored.id]) == []


async def test_sweep_cancels_an_abandoned_replacement(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    begun = await replacing(storage, stored, len(NEW))
    assert await swept(storage, folder) == SweepResult(0, 0, 0, 0)
    assert await swept(storage, folder, uploads_after=NONE) == SweepResult(1, 0, 0, 0)
    with pytest.raises(Conflict):
        await store_bytes(storage, folder, begun, chunks(NEW), replacement_id=begun.replacement_id)
    assert await content(folder, stored) == DATA
    assert len(await keys(folder)) == 1
