"""Bytes in and out of the object store, in step with their rows.

Each upload writes an object of its own, and the row names the one that counts. So an upload that
breaks off leaves the file as it was, two at once do not meet, and nothing is ever copied.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote
from uuid import UUID

from db.errors import BadInput, Conflict, Forbidden, NotFound, TooLarge, Unavailable
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.storage.operations import FileOperations
from db.storage.rows import FileRow, NewFile, Upload, object_key, objects_of
from db.storage.rules import checked_file

log = logging.getLogger(__name__)


REFUSALS = (BadInput, Conflict, Forbidden, NotFound, TooLarge)
"""After these no row names the bytes; after any other error one may, and sweeps will tell."""


class _Counted:
    """Passes bytes on while it counts and digests them."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.size = 0
        self._chunks = chunks
        self._digest = hashlib.sha256()

    @property
    def fingerprint(self) -> bytes:
        return self._digest.digest()

    async def passing(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            self._digest.update(chunk)
            yield chunk


class _Checked(_Counted):
    """An error when they are not the promised."""

    def __init__(self, chunks: AsyncIterator[bytes], *, size: int, promised: bytes | None) -> None:
        super().__init__(chunks)
        self._expected = size
        self._promised = promised

    async def passing(self) -> AsyncIterator[bytes]:
        async for chunk in super().passing():
            if self.size > self._expected:
                break
            yield chunk
        if self.size != self._expected:
            raise BadInput(
                f"The upload has {'more' if self.size > self._expected else 'fewer'} than "
                f"{self._expected} bytes.",
                hint="Send exactly the bytes that `createFile` was told of.",
                field="size",
            )
        if self._promised is not None and self._promised != self.fingerprint:
            raise BadInput(
                "The bytes that came are not those of the digest.",
                hint="Send them again: they changed on the way, or the digest is another file's.",
            )


async def store_bytes(
    storage: FileOperations,
    objects: ObjectStore,
    file: FileRow,
    chunks: AsyncIterator[bytes],
    *,
    promised: bytes | None = None,
) -> FileRow:
    """Streams a pending file's bytes in: STORED, or an error and nothing to be seen of them.

    `promised` is their SHA-256, where the sender says it.
    """
    object_id = new_id()
    key = object_key(file.id, object_id)
    checked = _Checked(chunks, size=file.size, promised=promised)
    headers = object_headers(file.content_type, file.location)
    await objects.put(key, checked.passing(), size=file.size, headers=headers)
    try:
        stored = await storage.finish_upload(
            file, object_id=object_id, fingerprint=checked.fingerprint
        )
    except REFUSALS:
        await _delete_if_possible(objects, key)
        raise
    if stored.object_id != object_id:
        await _delete_if_possible(objects, key)
    return stored


async def add_bytes(
    storage: FileOperations,
    objects: ObjectStore,
    owner: OwnerId,
    new: NewFile,
    chunks: AsyncIterator[bytes],
    *,
    at_most: int,
    source: str,
    idempotency_key: str | None = None,
) -> FileRow:
    """Streams bytes whose number shows at their end into a new file: STORED, or nothing of it.

    They come before their row: no other sees a file that waits, and nothing holds room for it.
    `new` says all but the size, `at_most` what that could be.
    """
    new = checked_file(new)
    file_id, object_id = new_id(), new_id()
    key = object_key(file_id, object_id)
    counted = _Counted(chunks)
    headers = object_headers(new.content_type or "", new.location)
    await objects.put(key, counted.passing(), size=at_most, headers=headers)
    upload = Upload(file_id, object_id, counted.size, counted.fingerprint)
    try:
        added = await storage.add_file(
            owner, new, upload, source=source, idempotency_key=idempotency_key
        )
    except REFUSALS:
        await _delete_if_possible(objects, key)
        raise
    if added.id != file_id:  # two at once under one key: the other was faster
        await _delete_if_possible(objects, key)
    return added


def read_bytes(
    objects: ObjectStore, file: FileRow, *, start: int, end: int
) -> AsyncIterator[bytes]:
    """A stored file's bytes from `start` until before `end`."""
    assert file.object_id is not None  # noqa: S101 - what is stored has an object
    return objects.read(object_key(file.id, file.object_id), start=start, end=end)


async def delete_file(
    storage: FileOperations, objects: ObjectStore, owner: OwnerId, file_id: UUID
) -> None:
    """Takes the file out, then removes its bytes; sweeps repeat what could not be done."""
    await storage.begin_deletion(owner, file_id)
    await remove_bytes_if_possible(storage, objects, [file_id])


async def remove_bytes_if_possible(
    storage: FileOperations, objects: ObjectStore, ids: Sequence[UUID]
) -> None:
    try:
        await remove_bytes(storage, objects, ids)
    except Unavailable as error:
        log.warning("bytes of deleted files are left to the next sweep: %r", error.__cause__)


async def remove_bytes(storage: FileOperations, objects: ObjectStore, ids: Sequence[UUID]) -> None:
    """Ends the deletion of files: first the bytes of all their uploads go, then the rows."""
    for file_id in ids:
        async for batch in objects.list(objects_of(file_id)):
            await objects.delete([stored.key for stored in batch])
    await storage.end_deletion(ids)


def disposition(location: str) -> str:
    """Saved under its own name, never shown: RFC 6266, with the name as RFC 8187 spells it."""
    name = location.rpartition("/")[2]
    plain = "".join(one if one.isascii() and one not in '"%\\' else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def object_headers(content_type: str, location: str) -> dict[str, str]:
    """What goes out with a file's bytes where the store serves them itself."""
    return {"Content-Type": content_type, "Content-Disposition": disposition(location)}


async def _delete_if_possible(objects: ObjectStore, key: str) -> None:
    try:
        await objects.delete([key])
    except Unavailable as error:
        log.warning("an object nobody needs is left to the next sweep: %r", error.__cause__)
