"""Writes, reads and removes the bytes of files in the object store, consistent with their rows.

Each upload writes its own object, and the row refers to the one that is valid. An interrupted
upload leaves the file unchanged, concurrent uploads do not conflict, and no object is copied.
"""

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from urllib.parse import quote
from uuid import UUID

from db.errors import BadInput, Conflict, Forbidden, NotFound, TooLarge, Unavailable
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.storage.operations import FileOperations
from db.storage.rows import (
    ExpectedUpload,
    FileRow,
    NewFile,
    Upload,
    file_name,
    object_key,
    objects_of,
)
from db.storage.rules import checked_file

log = logging.getLogger(__name__)

REJECTIONS = (BadInput, Conflict, Forbidden, NotFound, TooLarge)
"""After these errors no row refers to the object. After any other, one may: sweeps find out."""


class _Measured:
    """Passes bytes on, and computes their number and SHA-256."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.size = 0
        self._chunks = chunks
        self._digest = hashlib.sha256()

    @property
    def fingerprint(self) -> bytes:
        return self._digest.digest()

    async def pieces(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            self._digest.update(chunk)
            yield chunk


class _Verified(_Measured):
    """Raises BadInput if the size or the SHA-256 differs from what was declared."""

    def __init__(self, chunks: AsyncIterator[bytes], *, size: int, digest: bytes | None) -> None:
        super().__init__(chunks)
        self._expected_size = size
        self._expected_digest = digest

    async def pieces(self) -> AsyncIterator[bytes]:
        async for chunk in super().pieces():
            if self.size > self._expected_size:
                break
            yield chunk
        if self.size != self._expected_size:
            raise BadInput(
                f"The upload has {'more' if self.size > self._expected_size else 'fewer'} than "
                f"{self._expected_size} bytes.",
                hint="Send exactly the number of bytes given to `createFile` or `replaceFile`.",
                field="size",
            )
        if self._expected_digest is not None and self._expected_digest != self.fingerprint:
            raise BadInput(
                "The bytes do not match the digest.",
                hint="Check the digest and send the bytes again: they may have changed in transit.",
            )


async def store_bytes(
    storage: FileOperations,
    objects: ObjectStore,
    file: FileRow,
    chunks: AsyncIterator[bytes],
    *,
    replacement_id: UUID | None = None,
    digest: bytes | None = None,
) -> FileRow:
    """Stores the bytes of a pending file, or of a pending replacement of a stored one.

    If they are rejected, the file stays as it was. `digest` is the SHA-256 declared by the client,
    if any.
    """
    upload, object_id = ExpectedUpload(file, replacement_id), new_id()
    key = object_key(file.id, object_id)
    verified = _Verified(chunks, size=upload.size, digest=digest)
    headers = object_headers(upload.content_type, file.location)
    await objects.put(key, verified.pieces(), size=upload.size, headers=headers)
    try:
        stored = await _finish(storage, upload, object_id, verified.fingerprint)
    except REJECTIONS:
        await delete_objects_if_possible(objects, [key])
        raise
    if stored.object_id != object_id:
        await delete_objects_if_possible(objects, [key])
    elif replacement_id is not None and file.previous_object_id is not None:
        # One replaced object is kept for running downloads, and no more than one.
        await delete_objects_if_possible(objects, [object_key(file.id, file.previous_object_id)])
    return stored


async def _finish(
    storage: FileOperations, upload: ExpectedUpload, object_id: UUID, fingerprint: bytes
) -> FileRow:
    file = upload.file
    if upload.replacement_id is None:
        return await storage.finish_upload(file, object_id=object_id, fingerprint=fingerprint)
    return await storage.finish_replacement(
        file,
        replacement_id=upload.replacement_id,
        object_id=object_id,
        fingerprint=fingerprint,
    )


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
    """Stores bytes of unknown number as a new file. If they are rejected, no file is created.

    The row is created after the bytes are stored, so no pending file is visible and no space is
    reserved meanwhile. The size in `new` is ignored; `at_most` is its upper bound.
    """
    new = checked_file(new)
    file_id, object_id = new_id(), new_id()
    key = object_key(file_id, object_id)
    measured = _Measured(chunks)
    headers = object_headers(new.content_type or "", new.location)
    await objects.put(key, measured.pieces(), size=at_most, headers=headers)
    upload = Upload(file_id, object_id, measured.size, measured.fingerprint)
    try:
        added = await storage.add_file(
            owner, new, upload, source=source, idempotency_key=idempotency_key
        )
    except REJECTIONS:
        await delete_objects_if_possible(objects, [key])
        raise
    if added.id != file_id:  # a concurrent request with the same key was first
        await delete_objects_if_possible(objects, [key])
    return added


def read_bytes(
    objects: ObjectStore, file: FileRow, *, start: int, end: int
) -> AsyncGenerator[bytes]:
    """The bytes of a stored file from `start` up to, not including, `end`."""
    assert file.object_id is not None  # noqa: S101 - a stored file has an object
    return objects.read(object_key(file.id, file.object_id), start=start, end=end)


async def delete_file(
    storage: FileOperations, objects: ObjectStore, owner: OwnerId, file_id: UUID
) -> None:
    """Deletes the file, then its bytes. A sweep removes them if the object store fails."""
    await storage.begin_deletion(owner, file_id)
    await remove_bytes_if_possible(storage, objects, [file_id])


async def remove_bytes_if_possible(
    storage: FileOperations, objects: ObjectStore, ids: Sequence[UUID]
) -> None:
    """Removes the bytes of deleted files, then their rows."""
    try:
        for file_id in ids:
            await remove_bytes(objects, file_id)
        await storage.end_deletion(ids)
    except Unavailable as error:
        log.warning("the next sweep removes the bytes of deleted files: %r", error.__cause__)


async def remove_bytes(objects: ObjectStore, file_id: UUID) -> None:
    """Removes the objects of all uploads of a file."""
    async for batch in objects.list(objects_of(file_id)):
        await objects.delete([stored.key for stored in batch])


def disposition(location: str) -> str:
    """A Content-Disposition that saves the file under its name (RFC 6266, RFC 8187)."""
    name = file_name(location)
    plain = "".join(one if one.isascii() and one not in '"%\\' else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def object_headers(content_type: str, location: str) -> dict[str, str]:
    """The headers of downloads that the object store serves itself."""
    return {"Content-Type": content_type, "Content-Disposition": disposition(location)}


async def delete_objects_if_possible(objects: ObjectStore, keys: Sequence[str]) -> None:
    try:
        await objects.delete(keys)
    except Unavailable as error:
        log.warning("the next sweep removes unused objects: %r", error.__cause__)
