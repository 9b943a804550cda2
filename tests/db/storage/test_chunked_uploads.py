"""Bytes of resumable uploads stay in step with their rows through failures."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from db.errors import Conflict, NotFound, TooLarge, Unavailable
from db.kit.base import OwnerId
from db.objects.store import ObjectStore
from db.postgres.engine import Database, open_database
from db.storage import (
    ExpectedUpload,
    FileRow,
    NewFile,
    StorageOperations,
    append_bytes,
    chunked_uploads,
    complete_upload,
    delete_file,
    received_bytes,
)
from tests.db.storage.byte_samples import DATA, LONG, chunks, content, keys, swept
from tests.db.storage.test_uploads import UnavailableStore, failing
from tests.fixtures.repository_storage import RepositoryStorage
from tests.fixtures.storage import FailingAtEveryStatement

HALF = len(DATA) // 2


async def append(
    storage: StorageOperations, objects: ObjectStore, file: FileRow, data: bytes, offset: int = 0
) -> int:
    upload = ExpectedUpload(file)
    return await append_bytes(storage, objects, upload, chunks(data), offset=offset)


async def test_appended_bytes_become_the_file(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    assert await append(storage, folder, pending, DATA[:HALF]) == HALF
    assert await append(storage, folder, pending, DATA[HALF:], HALF) == len(DATA)
    assert len(await keys(folder)) == 2
    stored = await complete_upload(storage, folder, ExpectedUpload(pending))
    assert (stored.status, stored.fingerprint) == ("STORED", hashlib.sha256(DATA).digest())
    assert await content(folder, stored) == DATA
    assert len(await keys(folder)) == 1
    assert (await swept(storage, folder)).objects == 0


async def test_append_of_a_long_body_is_stored_in_several_chunks(
    storage: StorageOperations,
    folder: ObjectStore,
    pending: FileRow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunked_uploads, "MIN_CHUNK_BYTES", 30_000)
    upload = ExpectedUpload(pending)

    async def breaking() -> AsyncIterator[bytes]:
        async for chunk in chunks(DATA[:70_000]):
            yield chunk
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await append_bytes(storage, folder, upload, breaking(), offset=0)
    received = await storage.chunks_of(upload)
    assert [chunk.size for chunk in received] == [30_000, 30_000, 10_000]
    assert received_bytes(received) == 70_000
    with pytest.raises(TooLarge):
        await append(storage, folder, pending, DATA, 70_000)
    assert received_bytes(await storage.chunks_of(upload)) == 100_000
    assert len(await keys(folder)) == 4


async def test_append_with_a_failed_row_is_swept_or_continued(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    upload = ExpectedUpload(pending)
    with pytest.raises(Unavailable):
        await append(failing(storage, "append_chunk"), folder, pending, DATA[:HALF])
    assert (received_bytes(await storage.chunks_of(upload)), len(await keys(folder))) == (0, 1)
    with pytest.raises(Unavailable):
        await append(failing(storage, "append_chunk", after=True), folder, pending, DATA[:HALF])
    assert received_bytes(await storage.chunks_of(upload)) == HALF
    assert (await swept(storage, folder, objects_after=LONG)).objects == 0
    assert (await swept(storage, folder)).objects == 1
    await append(storage, folder, pending, DATA[HALF:], HALF)
    assert await content(folder, await complete_upload(storage, folder, upload)) == DATA


async def test_complete_upload_can_be_repeated_after_a_failure(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    upload = ExpectedUpload(pending)
    await append(storage, folder, pending, DATA)
    for broken in (failing(storage, "finish_upload"), failing(storage, "clear_chunks")):
        with pytest.raises(Unavailable):
            await complete_upload(broken, folder, upload)
        assert received_bytes(await storage.chunks_of(upload)) == len(DATA)
    (file,) = await storage.known_files([pending.id])
    assert ExpectedUpload(file).is_complete
    await swept(storage, folder)
    assert len(await keys(folder)) == 1
    assert await content(folder, file) == DATA


async def test_two_completions_at_once_store_one_object(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    upload = ExpectedUpload(pending)
    await append(storage, folder, pending, DATA)
    # Failures are injected by statement: several calls would get those of each other.
    count = 1 if isinstance(storage, FailingAtEveryStatement) else 3
    done = await asyncio.gather(*(complete_upload(storage, folder, upload) for _ in range(count)))
    assert len({file.object_id for file in done}) == 1
    assert len(await keys(folder)) == 1
    assert await content(folder, done[0]) == DATA


async def test_append_to_a_file_deleted_meanwhile_leaves_nothing(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield DATA[:HALF]
        await delete_file(storage, folder, pending.owner_id, pending.id)
        yield DATA[HALF:]

    with pytest.raises(Conflict):
        await append_bytes(storage, folder, ExpectedUpload(pending), slowly(), offset=0)
    assert await keys(folder) == []
    with pytest.raises((NotFound, Conflict)):
        await append(storage, folder, pending, DATA)


async def test_deleted_file_takes_received_bytes_along(
    storage: StorageOperations, folder: ObjectStore, pending: FileRow
) -> None:
    await append(storage, folder, pending, DATA[:HALF])
    await delete_file(storage, UnavailableStore(), pending.owner_id, pending.id)
    assert len(await keys(folder)) == 1
    await swept(storage, folder)
    assert await keys(folder) == []


async def test_of_many_appends_at_one_position_from_two_pools_one_continues(
    committed: Database, committed_url: str, committed_owner: OwnerId, folder: ObjectStore
) -> None:
    other = await open_database(committed_url, pool_size=8)
    storages = [RepositoryStorage(committed), RepositoryStorage(other)]
    bucket = await storages[0].create_bucket(committed_owner, "b", private=True)
    file = await storages[0].create_file(committed_owner, NewFile(bucket.id, "a", 30))
    upload = ExpectedUpload(file)
    for position in (0, 10, 20):
        answers = await asyncio.gather(
            *(
                append(
                    cast("StorageOperations", storages[one % 2]),
                    folder,
                    file,
                    bytes([one]) * 10,
                    position,
                )
                for one in range(8)
            ),
            return_exceptions=True,
        )
        assert [one for one in answers if not isinstance(one, Conflict)] == [position + 10]
    assert len(await keys(folder)) == len(await storages[1].chunks_of(upload)) == 3
    stored = await asyncio.gather(*(complete_upload(one, folder, upload) for one in storages))
    assert len({one.fingerprint for one in stored}) == 1
    await other.close()


async def test_upload_completed_a_second_time_answers_the_stored_file(
    committed: Database, committed_owner: OwnerId, folder: ObjectStore
) -> None:
    storage = RepositoryStorage(committed)
    bucket = await storage.create_bucket(committed_owner, "b", private=True)
    file = await storage.create_file(committed_owner, NewFile(bucket.id, "a", 10))
    await append(cast("StorageOperations", storage), folder, file, b"0123456789", 0)
    stored = await complete_upload(storage, folder, ExpectedUpload(file))
    again = await complete_upload(storage, folder, ExpectedUpload(file))
    assert (again.object_id, again.fingerprint) == (stored.object_id, stored.fingerprint)
    assert len(await keys(folder)) == 1
