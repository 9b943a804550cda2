"""The in-memory implementation of FileOperations, except for `delete_bucket`."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import Conflict
from db.kit.base import OwnerId, new_id
from db.storage import errors, rules
from db.storage.memory.tables import (
    Tables,
    ago,
    check_version,
    existing,
    pending,
    store_row,
    with_new_version,
)
from db.storage.rows import (
    CANCELLED_REPLACEMENT,
    NO_REPLACEMENT,
    UPLOAD_WITHIN,
    BucketRow,
    ChunkRow,
    ExpectedUpload,
    FileRow,
    FileStatus,
    NewFile,
    Quota,
    Upload,
    file_key,
    file_name,
)

Row = TypeVar("Row", bound=NamedTuple)


class MemoryFiles:
    def __init__(self, *, quota: Quota = Quota()) -> None:  # noqa: B008 - it is immutable
        self._quota = quota
        self._tables = Tables()
        self._answers: dict[tuple[OwnerId, str], tuple[object, Any]] = {}

    async def create_file(
        self, owner: OwnerId, new: NewFile, *, idempotency_key: str | None = None
    ) -> FileRow:
        new = rules.checked_file(new)
        return self._once(
            owner,
            idempotency_key,
            ("createFile", new),
            lambda: self._reserve(owner, new, new_id()),
        )

    async def expect_file(
        self, owner: OwnerId, new: NewFile, *, source: str, idempotency_key: str | None = None
    ) -> FileRow | None:
        new = rules.checked_file(new)
        added: FileRow | None = self._find_answer(
            owner, idempotency_key, _add_file_request(new, source)
        )
        if added is None:
            self._check_new_file(owner, new)
        return added

    async def add_file(
        self,
        owner: OwnerId,
        new: NewFile,
        upload: Upload,
        *,
        source: str,
        idempotency_key: str | None = None,
    ) -> FileRow:
        new = rules.checked_file(new._replace(size=upload.size))

        def add() -> FileRow:
            file = self._reserve(owner, new, upload.file_id)
            return self._finish(file, object_id=upload.object_id, fingerprint=upload.fingerprint)

        return self._once(owner, idempotency_key, _add_file_request(new, source), add)

    async def finish_upload(self, file: FileRow, *, object_id: UUID, fingerprint: bytes) -> FileRow:
        return self._finish(file, object_id=object_id, fingerprint=fingerprint)

    def _check_new_file(self, owner: OwnerId, new: NewFile) -> BucketRow:
        """Returns the bucket of a new file, or raises why the file cannot be created."""
        errors.check_quota(self._quota, self._usage(owner), more=new.size)
        bucket = self._tables.owned_bucket(owner, new.bucket_id, field="bucketId")
        self._tables.check_location_free(bucket.id, new.location)
        return bucket

    def _usage(self, owner: OwnerId) -> Quota:
        owned = self._tables.owned_buckets(owner)
        reserved = sum(
            max(0, (file.replacement_size or 0) - file.size)
            for file in self._tables.owned_files(owner)
        )
        return Quota(
            bytes=sum(bucket.total_size for bucket in owned) + reserved,
            files=sum(bucket.file_count for bucket in owned),
        )

    def _reserve(self, owner: OwnerId, new: NewFile, file_id: UUID) -> FileRow:
        bucket, providers = self._check_new_file(owner, new), self._tables.choose_providers(new)
        return self._tables.add_file(bucket, pending(owner, new, file_id=file_id), providers)

    def _finish(self, file: FileRow, *, object_id: UUID, fingerprint: bytes) -> FileRow:
        known = self._tables.owned_file(file.owner_id, file.id)
        if known.status == FileStatus.STORED and known.fingerprint == fingerprint:
            return known
        if known.status != FileStatus.PENDING or known.created_at <= ago(UPLOAD_WITHIN):
            raise errors.upload_not_pending()
        return self._store_object(known, file.location, object_id, fingerprint)

    def _store_object(
        self, file: FileRow, stored_at: str, object_id: UUID, fingerprint: bytes
    ) -> FileRow:
        stored = with_new_version(
            file,
            status=FileStatus.STORED,
            object_id=object_id,
            object_location=stored_at,
            fingerprint=fingerprint,
            key=file_key(file, fingerprint),
        )
        return store_row(self._tables.files, stored)

    async def move_file(
        self,
        owner: OwnerId,
        file_id: UUID,
        /,
        *,
        expected_version: int | None = None,
        **changes: Any,
    ) -> FileRow:
        checked = rules.checked_move(changes)
        file = self._tables.owned_file(owner, file_id)
        if file.bucket_id is None:
            raise errors.file_deleted()
        to = (checked.get("bucket_id", file.bucket_id), checked.get("location", file.location))
        if to == (file.bucket_id, file.location):
            return file
        check_version("file", file.version, expected_version)
        self._tables.owned_bucket(owner, to[0], field="bucketId")
        self._tables.check_location_free(*to)
        self._tables.count_move(file, to[0])
        moved = file._replace(bucket_id=to[0], location=to[1], name=file_name(to[1]))
        if file.object_id is not None:
            moved = moved._replace(object_location=file.object_location or file.location)
        if file.key is not None and file.fingerprint is not None:
            moved = moved._replace(key=file_key(moved, file.fingerprint))
        return store_row(self._tables.files, with_new_version(moved))

    async def begin_replacement(
        self,
        owner: OwnerId,
        file_id: UUID,
        *,
        size: int,
        content_type: str | None = None,
        expected_version: int | None = None,
    ) -> FileRow:
        new_size, new_type = rules.checked_replacement(size, content_type)
        file = self._tables.owned_file(owner, file_id)
        if file.status != FileStatus.STORED:
            raise errors.nothing_to_replace()
        check_version("file", file.version, expected_version)
        errors.check_replacement_quota(self._quota, self._usage(owner), file, size=new_size)
        self._tables.providers_for_bytes(file, new_size)
        replacing = file._replace(
            replacement_id=new_id(),
            replacement_size=new_size,
            replacement_content_type=new_type or file.content_type,
            replacement_created_at=ago(),
        )
        return store_row(self._tables.files, replacing)

    async def finish_replacement(
        self, file: FileRow, *, replacement_id: UUID, object_id: UUID, fingerprint: bytes
    ) -> FileRow:
        known = self._tables.owned_file(file.owner_id, file.id)
        begun, size = known.replacement_created_at, known.replacement_size
        is_pending = begun is not None and begun > ago(UPLOAD_WITHIN)
        if size is None or known.replacement_id != replacement_id or not is_pending:
            errors.check_replaced(known, replacement_id, fingerprint)
            return known
        providers = self._tables.providers_for_bytes(known, size)
        self._tables.count_replacement(known, size, providers)
        switched = known._replace(
            size=size,
            content_type=known.replacement_content_type or "",
            previous_object_id=known.object_id,
            replaced_at=ago(),
            **NO_REPLACEMENT,
        )
        return self._store_object(switched, file.location, object_id, fingerprint)

    async def cancel_replacement(self, file: FileRow, *, replacement_id: UUID) -> None:
        known = self._tables.owned_file(file.owner_id, file.id)
        if known.replacement_id == replacement_id and known.replacement_size is not None:
            store_row(self._tables.files, known._replace(**CANCELLED_REPLACEMENT))

    async def chunks_of(self, upload: ExpectedUpload) -> Sequence[ChunkRow]:
        return list(self._tables.chunks.get(upload.id, ()))

    async def append_chunk(self, upload: ExpectedUpload, chunk: ChunkRow) -> bool:
        received = self._tables.chunks.get(upload.id, [])
        end = received[-1].end if received else 0
        if chunk.position != end or not self._tables.is_expected(chunk.file_id, chunk.upload_id):
            return False
        self._tables.chunks[upload.id] = [*received, chunk]
        return True

    async def clear_chunks(self, upload: ExpectedUpload) -> Sequence[ChunkRow]:
        return self._tables.chunks.pop(upload.id, [])

    async def begin_deletion(self, owner: OwnerId, file_id: UUID) -> None:
        file = self._tables.owned_file(owner, file_id)
        if file.bucket_id is not None:
            self._tables.detach(file)

    # Without an owner: for signed links and sweeps

    async def known_files(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return existing(self._tables.files, ids)

    async def stale_uploads(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        latest = ago(older_than)
        pending = self._tables.in_state(FileStatus.PENDING)
        return [file for file in pending if file.created_at <= latest][:limit]

    async def cancel_stale_replacements(self, *, older_than: timedelta) -> int:
        latest = ago(older_than)
        stale = [
            file
            for file in self._tables.files.values()
            if file.replacement_created_at is not None and file.replacement_created_at <= latest
        ]
        for file in stale:
            store_row(self._tables.files, file._replace(**CANCELLED_REPLACEMENT))
        return len(stale)

    async def known_chunks(self, object_ids: Sequence[UUID]) -> set[UUID]:
        known = {one.object_id for chunks in self._tables.chunks.values() for one in chunks}
        return known & set(object_ids)

    async def remove_stale_chunks(self) -> int:
        stale = {
            upload_id: len(chunks)
            for upload_id, chunks in self._tables.chunks.items()
            if not self._tables.is_expected(chunks[0].file_id, upload_id)
        }
        for upload_id in stale:
            del self._tables.chunks[upload_id]
        return sum(stale.values())

    async def deleting_files(self, *, limit: int) -> Sequence[UUID]:
        deleting = [file.id for file in self._tables.in_state(FileStatus.DELETING)]
        return random.sample(deleting, min(limit, len(deleting)))

    async def end_deletion(self, ids: Sequence[UUID]) -> None:
        for file in existing(self._tables.files, ids):
            if file.status == FileStatus.DELETING:
                del self._tables.files[file.id]

    def _once(
        self, owner: OwnerId, key: str | None, request: object, work: Callable[[], Row]
    ) -> Row:
        answer: Row = self._find_answer(owner, key, request) or work()
        if key is not None:
            self._answers[owner, key] = (request, answer)
        return answer

    def _find_answer(self, owner: OwnerId, key: str | None, request: object) -> Any:
        """Returns the stored answer of the first request with the key, or None."""
        known = self._answers.get((owner, key)) if key is not None else None
        if known is None:
            return None
        if known[0] != request:
            raise Conflict(
                "This idempotency key was used for another request.",
                hint="Use a new key for each request; to retry, send the same input.",
                field="idempotencyKey",
            )
        return known[1]


def _add_file_request(new: NewFile, source: str) -> tuple[object, ...]:
    return ("addFile", new._replace(size=0), source)
