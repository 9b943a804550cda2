"""Uploads in several requests: each appends chunks, and the last one stores the whole file.

A chunk is an object of its own, and a row says at which position it belongs. The row is inserted
after the object is written, and only if it continues what was received. So any replica may receive
the next bytes, a killed process loses at most the chunk that it was writing, and of two requests at
one position one is refused (docs/decisions/0022-resumable-uploads.md).
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol
from uuid import UUID

from db.errors import BadInput, Conflict, NotFound, TooLarge
from db.kit.base import OwnerId, new_id
from db.objects.store import MIB, ObjectStore
from db.storage.operations import FileOperations
from db.storage.rows import ChunkRow, ExpectedUpload, FileRow, chunk_key
from db.storage.uploads import REJECTIONS, delete_file, delete_objects_if_possible, store_bytes

MIN_CHUNK_BYTES = 16 * MIB
MAX_CHUNKS = 1_000


class Digest(Protocol):
    """A hash of `hashlib`."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class Checksum:
    """The declared digest of the bytes of one request."""

    def __init__(self, digest: Digest, expected: bytes) -> None:
        self._digest = digest
        self._expected = expected

    def update(self, data: bytes) -> None:
        self._digest.update(data)

    @property
    def matches(self) -> bool:
        return self._digest.digest() == self._expected


class ChecksumMismatch(BadInput):
    """The bytes of a request differ from their declared digest."""


class _Segment:
    """The next bytes of a request, up to a limit. It ends early if the request breaks off."""

    def __init__(
        self, chunks: AsyncIterator[bytes], first: bytes, *, limit: int, most: int
    ) -> None:
        self.size = 0
        self.broken: Exception | None = None
        self._chunks = chunks
        self._first = first
        self._limit = limit
        self._most = most

    async def pieces(self) -> AsyncIterator[bytes]:
        piece: bytes | None = self._first
        while piece is not None:
            if self.size + len(piece) > self._most:
                raise too_many_bytes()
            self.size += len(piece)
            yield piece
            piece = None if self.size >= self._limit else await self._next()

    async def _next(self) -> bytes | None:
        try:
            return await anext(self._chunks, None)
        except Exception as error:  # noqa: BLE001 - the caller raises it when the bytes are stored
            self.broken = error
            return None


def received_bytes(chunks: Sequence[ChunkRow]) -> int:
    return chunks[-1].end if chunks else 0


async def append_bytes(
    storage: FileOperations,
    objects: ObjectStore,
    upload: ExpectedUpload,
    chunks: AsyncIterator[bytes],
    *,
    offset: int,
    checksum: Checksum | None = None,
) -> int:
    """Stores bytes that follow the first `offset` ones, and returns the new number of bytes.

    If `chunks` raises, what came before is stored. With a checksum all or nothing is stored.

    Raises:
        Conflict: the upload has another number of bytes, or is no longer expected.
        TooLarge: there are more bytes than the upload has. Those that fit may be stored.
        ChecksumMismatch: the bytes differ from their checksum.
    """
    limit = max(MIN_CHUNK_BYTES, -(-upload.size // MAX_CHUNKS))
    if checksum is not None:
        limit, chunks = upload.size + 1, _digested(chunks, checksum)
    first = await anext(chunks, None)
    while first is not None:
        segment = _Segment(chunks, first, limit=limit, most=upload.size - offset)
        offset = await _append(storage, objects, upload, segment, offset, checksum)
        if segment.broken is not None:
            raise segment.broken
        first = await anext(chunks, None)
    return offset


async def _append(
    storage: FileOperations,
    objects: ObjectStore,
    upload: ExpectedUpload,
    segment: _Segment,
    offset: int,
    checksum: Checksum | None,
) -> int:
    object_id = new_id()
    key = chunk_key(upload.file.id, object_id)
    await objects.put(key, segment.pieces(), size=upload.size)
    try:
        if checksum is not None:
            _check(checksum, segment)
        chunk = ChunkRow(upload.file.id, upload.id, offset, segment.size, object_id)
        if not await storage.append_chunk(upload, chunk):
            raise wrong_offset()
    except REJECTIONS:
        await delete_objects_if_possible(objects, [key])
        raise
    return chunk.end


def _check(checksum: Checksum, segment: _Segment) -> None:
    """Raises ChecksumMismatch, also for a request that broke off."""
    if segment.broken is not None or not checksum.matches:
        raise ChecksumMismatch(
            "The bytes do not match `Upload-Checksum`.", hint="Send the same bytes again."
        )


async def complete_upload(
    storage: FileOperations, objects: ObjectStore, upload: ExpectedUpload
) -> FileRow:
    """Stores the received bytes as the file, which verifies their number, and removes the chunks.

    Raises:
        Conflict: received bytes are gone, or the file does not accept the upload.
    """
    chunks = await storage.chunks_of(upload)
    try:
        stored = await store_bytes(
            storage,
            objects,
            upload.file,
            _read(objects, chunks),
            replacement_id=upload.replacement_id,
        )
    except (NotFound, BadInput):  # objects of the chunks are gone, or the chunks themselves
        present = await storage.known_files([upload.file.id])
        if not present:
            raise
        if upload._replace(file=present[0]).is_complete:
            return present[0]  # another replica was faster, and has removed the chunks
        await storage.clear_chunks(upload)
        raise Conflict(
            "Received bytes of this upload are gone, as after the restore of a backup.",
            hint="Start the upload again.",
        ) from None
    await discard_upload(storage, objects, upload)
    return stored


async def discard_upload(
    storage: FileOperations, objects: ObjectStore, upload: ExpectedUpload
) -> None:
    """Removes the received bytes of an upload."""
    chunks = await storage.clear_chunks(upload)
    await delete_objects_if_possible(
        objects, [chunk_key(chunk.file_id, chunk.object_id) for chunk in chunks]
    )


async def begin_replacement(
    storage: FileOperations, objects: ObjectStore, owner: OwnerId, file_id: UUID, **values: Any
) -> FileRow:
    """Prepares new bytes for a file, and removes those received for the replacement before."""
    present = await storage.known_files([file_id])
    file = await storage.begin_replacement(owner, file_id, **values)
    if present and present[0].replacement_size is not None:
        superseded = ExpectedUpload(present[0], present[0].replacement_id)
        await discard_upload(storage, objects, superseded)
    return file


async def terminate_upload(
    storage: FileOperations, objects: ObjectStore, upload: ExpectedUpload
) -> None:
    """Gives up an upload: removes its bytes, and the pending file or replacement."""
    await discard_upload(storage, objects, upload)
    if upload.replacement_id is None:
        await delete_file(storage, objects, upload.file.owner_id, upload.file.id)
    else:
        await storage.cancel_replacement(upload.file, replacement_id=upload.replacement_id)


def wrong_offset() -> Conflict:
    return Conflict(
        "`Upload-Offset` is not the number of bytes that were received.",
        hint="Ask for it with `HEAD`, and continue from there.",
    )


def too_many_bytes() -> TooLarge:
    return TooLarge(
        "The upload has more bytes than the file.",
        hint="Send exactly the number of bytes given to `createFile` or `replaceFile`.",
        field="size",
    )


async def _digested(chunks: AsyncIterator[bytes], checksum: Checksum) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        checksum.update(chunk)
        yield chunk


async def _read(objects: ObjectStore, chunks: Sequence[ChunkRow]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        key = chunk_key(chunk.file_id, chunk.object_id)
        async for piece in objects.read(key, start=0, end=chunk.size):
            yield piece
