"""Bytes and rows stay consistent through failures, and sweeps clean up the rest."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from db.errors import BadInput, Conflict, Unavailable
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
from db.objects.store import ObjectStore
from db.storage import (
    FileRow,
    NewFile,
    StorageOperations,
    SweepResult,
    add_bytes,
    delete_file,
    disposition,
    object_key,
    remove_bytes_if_possible,
    store_bytes,
)
from tests.db.storage.byte_samples import DATA, LONG, NONE, chunks, content, keys, swept


class FailingOperation:
    """Storage in which one operation fails before or after it has run."""

    def __init__(self, storage: StorageOperations, name: str, *, after: bool) -> None:
        self._storage = storage
        self._name = name
        self._after = after

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._storage, name)
        if name != self._name:
            return operation

        async def fail(*arguments: Any, **options: Any) -> None:
            if self._after:
                await operation(*arguments, **options)
            raise Unavailable("The connection dropped.", hint="None.")

        return fail


def failing(storage: StorageOperations, name: str, *, after: bool = False) -> StorageOperations:
    return cast("StorageOperations", FailingOperation(storage, name, after=after))


class UnavailableStore(ObjectStore):
    def __init__(self) -> None:
        self.kind = "unavailable"

    async def delete(self, keys: Sequence[str]) -> None:
        raise Unavailable("Unavailable.", hint="None.")

    def list(self, prefix: str) -> AsyncIterator[Any]:
        raise Unavailable("Unavailable.", hint="None.")


async def test_store_bytes_stores_what_read_bytes_returns(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    digest = hashlib.sha256(DATA).digest()
    stored = await store_bytes(storage, folder, pending, chunks(DATA), digest=digest)
    assert (stored.status, stored.fingerprint) == ("STORED", digest)
    assert await content(folder, stored) == DATA
    assert await swept(storage, folder) == SweepResult(0, 0, 0, 0)
    assert await content(folder, stored) == DATA


async def test_store_bytes_accepts_an_empty_file(
    storage: StorageOperations, folder: ObjectStore, owner: OwnerId
) -> None:
    bucket = await storage.create_bucket(owner, "c", private=True)
    empty = await storage.create_file(owner, NewFile(bucket.id, "empty", 0))
    stored = await store_bytes(storage, folder, empty, chunks(b""))
    assert stored.fingerprint == hashlib.sha256(b"").digest()
    assert await content(folder, stored) == b""


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b""], ids=["short", "long", "none"])
async def test_store_bytes_of_another_size_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow, data: bytes
) -> None:
    with pytest.raises(BadInput, match=str(len(DATA))):
        await store_bytes(storage, folder, pending, chunks(data))
    assert await keys(folder) == []
    assert await storage.known_files([pending.id]) == [pending]


async def test_store_bytes_with_another_digest_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    with pytest.raises(BadInput, match="digest"):
        await store_bytes(storage, folder, pending, chunks(DATA), digest=bytes(32))
    assert await keys(folder) == []
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    assert stored.status == "STORED"


async def test_store_bytes_interrupted_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield DATA[:50_000]
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, Unavailable)):
        await store_bytes(storage, folder, pending, breaking())
    assert await keys(folder) == []
    assert await storage.known_files([pending.id]) == [pending]


async def test_store_bytes_twice_removes_the_second_object(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    first = await store_bytes(storage, folder, pending, chunks(DATA))
    again = await store_bytes(storage, folder, pending, chunks(DATA))
    assert again == first
    with pytest.raises(Conflict):
        await store_bytes(storage, folder, pending, chunks(DATA[::-1]))
    assert first.object_id is not None
    assert await keys(folder) == [object_key(first.id, first.object_id)]
    assert await content(folder, first) == DATA


async def test_store_bytes_of_a_file_deleted_meanwhile_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield DATA[:50_000]
        await delete_file(storage, folder, pending.owner_id, pending.id)
        yield DATA[50_000:]

    with pytest.raises(Exception, match=r"does not exist|no longer"):
        await store_bytes(storage, folder, pending, slowly())
    assert await keys(folder) == []
    assert await storage.known_files([pending.id]) == []


# Bytes of unknown number


@pytest.fixture
async def wanted(storage: StorageOperations, owner: OwnerId) -> NewFile:
    bucket = await storage.create_bucket(owner, "exports", private=True)
    return NewFile(bucket.id, " a.bin ", 0, "text/plain")


@pytest.mark.parametrize("data", [DATA, b""], ids=["some", "none"])
async def test_add_bytes_creates_a_file_of_the_received_size(
    storage: StorageOperations, folder: ObjectStore, owner: OwnerId, wanted: NewFile, data: bytes
) -> None:
    file = await add_bytes(storage, folder, owner, wanted, chunks(data), at_most=10, source="x")
    assert (file.status, file.size, file.location) == ("STORED", len(data), "a.bin")
    assert file.fingerprint == hashlib.sha256(data).digest()
    assert await content(folder, file) == data
    assert await swept(storage, folder) == SweepResult(0, 0, 0, 0)
    assert await content(folder, file) == data


async def test_add_bytes_interrupted_or_rejected_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, owner: OwnerId, wanted: NewFile
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield DATA[:50_000]
        raise Conflict("Broken.", hint="None.")

    async def overtaken() -> AsyncIterator[bytes]:
        yield DATA
        await storage.create_file(owner, wanted)

    for coming in (breaking(), overtaken()):
        with pytest.raises(Conflict):
            await add_bytes(storage, folder, owner, wanted, coming, at_most=10, source="x")
        assert await keys(folder) == []
    (other,) = (await storage.files(owner, Window(9))).rows
    assert (other.status, other.size) == ("PENDING", 0)


async def test_add_bytes_cancelled_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, owner: OwnerId, wanted: NewFile, tmp_path: Path
) -> None:
    waiting = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield os.urandom(3_000_000)
        waiting.set()
        await asyncio.Event().wait()

    adding = asyncio.ensure_future(
        add_bytes(storage, folder, owner, wanted, slowly(), at_most=10, source="x")
    )
    await waiting.wait()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert await keys(folder) == []
    assert list(tmp_path.rglob("*#*")) == []
    assert await storage.count_files(owner) == 0


async def test_add_bytes_twice_with_one_key_creates_one_file(
    storage: StorageOperations, folder: ObjectStore, owner: OwnerId, wanted: NewFile
) -> None:
    async def add(data: bytes) -> FileRow:
        return await add_bytes(
            storage,
            folder,
            owner,
            wanted,
            chunks(data),
            at_most=10,
            source="x",
            idempotency_key="k",
        )

    first, second = await asyncio.gather(add(DATA), add(DATA[:9]))
    assert first == second
    assert await content(folder, first) in {DATA, DATA[:9]}
    assert len(await keys(folder)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_add_bytes_with_a_failed_row_is_swept_or_complete(
    storage: StorageOperations, folder: ObjectStore, owner: OwnerId, wanted: NewFile, when: str
) -> None:
    broken = failing(storage, "add_file", after=when == "after")
    with pytest.raises(Unavailable):
        await add_bytes(broken, folder, owner, wanted, chunks(DATA), at_most=10, source="x")
    assert (await swept(storage, folder, objects_after=LONG)).objects == 0
    assert (await swept(storage, folder)).objects == (0 if when == "after" else 1)
    files = (await storage.files(owner, Window(9))).rows
    found = [await content(folder, file) for file in files]
    assert found == ([DATA] if when == "after" else [])


# Crashes, and the sweeps after them


async def test_sweep_removes_an_upload_whose_row_failed(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    with pytest.raises(Unavailable):
        await store_bytes(failing(storage, "finish_upload"), folder, pending, chunks(DATA))
    assert len(await keys(folder)) == 1
    assert await swept(storage, folder) == SweepResult(0, 0, 0, 0)
    assert await swept(storage, folder, uploads_after=NONE) == SweepResult(1, 1, 0, 0)
    assert await keys(folder) == []
    assert await storage.known_files([pending.id]) == []


async def test_sweep_keeps_an_upload_whose_row_was_stored(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    broken = failing(storage, "finish_upload", after=True)
    with pytest.raises(Unavailable):
        await store_bytes(broken, folder, pending, chunks(DATA))
    assert await swept(storage, folder, uploads_after=NONE) == SweepResult(0, 0, 0, 0)
    (stored,) = await storage.known_files([pending.id])
    assert await content(folder, stored) == DATA


async def test_sweep_finishes_an_interrupted_deletion(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    await delete_file(storage, UnavailableStore(), stored.owner_id, stored.id)
    assert await storage.deleting_files(limit=9) == [stored.id]
    assert len(await keys(folder)) == 1
    broken = failing(storage, "end_deletion")
    await remove_bytes_if_possible(broken, folder, [stored.id])
    assert (await keys(folder), await storage.deleting_files(limit=9)) == ([], [stored.id])
    assert await swept(storage, folder) == SweepResult(0, 1, 0, 0)
    assert await storage.known_files([stored.id]) == []
    assert await swept(storage, folder) == SweepResult(0, 0, 0, 0)


async def test_sweep_removes_old_objects_without_a_row(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    assert stored.object_id is not None
    kept = object_key(stored.id, stored.object_id)
    foreign = "files/not ours"
    loser, orphan = object_key(stored.id, new_id()), object_key(new_id(), new_id())
    for key in (loser, orphan, foreign):
        await folder.put(key, chunks(b"x"), size=1)
    assert (await swept(storage, folder, objects_after=LONG)).objects == 0
    assert (await swept(storage, folder)).objects == 2
    assert await keys(folder) == sorted([kept, foreign])


async def test_sweep_removes_the_bytes_of_a_deleted_bucket(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow, owner: OwnerId
) -> None:
    stored = await store_bytes(storage, folder, pending, chunks(DATA))
    bucket_id = cast("UUID", stored.bucket_id)
    assert await storage.delete_bucket(owner, bucket_id, with_files=True, limit=10) == [stored.id]
    results = await asyncio.gather(*(swept(storage, folder) for _ in range(3)))
    assert all(result.objects == 0 for result in results)
    assert await keys(folder) == []
    assert await storage.known_files([stored.id]) == []


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("a/b/May.pdf", "attachment; filename=\"May.pdf\"; filename*=UTF-8''May.pdf"),
        ('q"uote', "attachment; filename=\"q_uote\"; filename*=UTF-8''q%22uote"),
        ("50%", "attachment; filename=\"50_\"; filename*=UTF-8''50%25"),
        ("é 🐘", "attachment; filename=\"_ _\"; filename*=UTF-8''%C3%A9%20%F0%9F%90%98"),
        ("it's;x", "attachment; filename=\"it's;x\"; filename*=UTF-8''it%27s%3Bx"),
    ],
)
def test_disposition_encodes_the_file_name(location: str, expected: str) -> None:
    assert disposition(location) == expected
