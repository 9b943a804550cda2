"""File operations in PostgreSQL. Locks are taken in one order: owner, bucket, placement, providers.

Operations of one statement are not here: resolvers call the repositories for them.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from db.kit.audit import AuditKind, current_actor, record
from db.kit.base import OwnerId, new_id
from db.kit.idempotency import Idempotency, run_once
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.storage import errors, rules
from db.storage.repositories.buckets import Buckets
from db.storage.repositories.chunks import Chunks
from db.storage.repositories.file_changes import FileChanges
from db.storage.repositories.files import Files
from db.storage.repositories.replicas import Replicas
from db.storage.repositories.unscoped import UnscopedChunks, UnscopedFiles
from db.storage.rows import ChunkRow, ExpectedUpload, FileRow, FileStatus, NewFile, Quota, Upload

_NO_LIMIT = Quota()

T = TypeVar("T")


class _FileMoved(Exception):
    pass


class PostgresStorage:
    """Implements FileOperations."""

    def __init__(self, database: Database, *, quota: Quota = _NO_LIMIT) -> None:
        self.database = database
        self._quota = quota

    async def delete_bucket(
        self, owner: OwnerId, bucket_id: UUID, *, with_files: bool, limit: int
    ) -> Sequence[UUID]:
        async def delete(session: Session) -> Sequence[UUID]:
            buckets = Buckets(session, owner)
            bucket = await buckets.lock(bucket_id)
            if bucket is None:
                raise await buckets.missing_row_error(bucket_id, field="id")
            if bucket.file_count and not with_files:
                raise errors.bucket_not_empty(bucket.file_count)
            await Replicas(session, owner).release_all(bucket_id)
            files = await Files(session, owner).detach_all(bucket_id, limit=limit)
            await buckets.remove(bucket_id)
            await record(
                session,
                AuditKind.BUCKET_DELETED,
                owner_id=owner,
                subject_id=bucket_id,
                subject_name=bucket.name,
                details={"files": bucket.file_count, "bytes": bucket.total_size},
            )
            return files

        return await self.database.transaction(delete)

    async def create_file(
        self, owner: OwnerId, new: NewFile, *, idempotency_key: str | None = None
    ) -> FileRow:
        new = rules.checked_file(new)
        return await run_once(
            self.database,
            owner,
            lambda session: self._reserve(session, owner, new, file_id=new_id()),
            key=idempotency_key,
            request=("createFile", new),
            answer=FileRow,
        )

    async def expect_file(
        self, owner: OwnerId, new: NewFile, *, source: str, idempotency_key: str | None = None
    ) -> FileRow | None:
        new = rules.checked_file(new)

        async def expect(session: Session) -> FileRow | None:
            if idempotency_key is not None:
                keys, request = Idempotency(session, owner), _add_file_request(new, source)
                added = await keys.find_answer(idempotency_key, request, answer=FileRow)
                if added is not None:
                    return added
            buckets = Buckets(session, owner)
            errors.check_quota(self._quota, await buckets.usage(), more=new.size)
            await buckets.add_to_counters(new.bucket_id, files=0, size=0)
            if await Files(session, owner).is_taken(new.bucket_id, new.location):
                raise errors.conflict(errors.LOCATION_TAKEN)
            return None

        return await self.database.transaction(expect)

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

        async def add(session: Session) -> FileRow:
            file = await self._reserve(session, owner, new, file_id=upload.file_id)
            stored = await FileChanges(session, owner).finish(
                file, object_id=upload.object_id, fingerprint=upload.fingerprint
            )
            await record_file(session, AuditKind.RESULT_EXPORTED, stored, source=source)
            return stored

        return await run_once(
            self.database,
            owner,
            add,
            key=idempotency_key,
            request=_add_file_request(new, source),
            answer=FileRow,
        )

    async def finish_upload(self, file: FileRow, *, object_id: UUID, fingerprint: bytes) -> FileRow:
        async def finish(session: Session) -> FileRow:
            stored = await FileChanges(session, file.owner_id).finish(
                file, object_id=object_id, fingerprint=fingerprint
            )
            if stored.object_id == object_id:  # else an earlier upload of the same bytes is kept
                await record_file(session, AuditKind.FILE_UPLOADED, stored)
            return stored

        return await self.database.transaction(finish)

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

        async def move(session: Session) -> FileRow:
            file = await _lock_file(session, owner, file_id, also=checked.get("bucket_id"))
            if file.bucket_id is None:
                raise errors.file_deleted()
            to = (checked.get("bucket_id", file.bucket_id), checked.get("location", file.location))
            if to == (file.bucket_id, file.location):
                return file
            files, buckets = FileChanges(session, owner), Buckets(session, owner)
            files.check_version(file, expected_version)
            if to[0] != file.bucket_id:
                await buckets.add_to_counters(to[0], files=1, size=file.size)
                await buckets.add_to_counters(file.bucket_id, files=-1, size=-file.size)
            moved = await files.move(file_id, bucket_id=to[0], location=to[1])
            await record_file(session, AuditKind.FILE_MOVED, moved, formerLocation=file.location)
            return moved

        return await self._transact_on_file(move)

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

        async def begin(session: Session) -> FileRow:
            used = await Buckets(session, owner).usage()
            files = FileChanges(session, owner)
            file = await files.lock(file_id)
            if file.status != FileStatus.STORED:
                raise errors.nothing_to_replace()
            files.check_version(file, expected_version)
            errors.check_replacement_quota(self._quota, used, file, size=new_size)
            await Replicas(session, owner).check_space(file, size=new_size)
            return await files.begin_replacement(
                file_id, size=new_size, content_type=new_type or file.content_type
            )

        return await self.database.transaction(begin)

    async def finish_replacement(
        self, file: FileRow, *, replacement_id: UUID, object_id: UUID, fingerprint: bytes
    ) -> FileRow:
        owner = file.owner_id

        async def finish(session: Session) -> FileRow:
            before = await _lock_file(session, owner, file.id)
            after = await FileChanges(session, owner).finish_replacement(
                file.id,
                replacement_id=replacement_id,
                object_id=object_id,
                fingerprint=fingerprint,
                location=file.location,
            )
            if after is None:
                errors.check_replaced(before, replacement_id, fingerprint)
                return before
            assert after.bucket_id is not None  # noqa: S101 - a stored file is in a bucket
            growth = after.size - before.size
            await Buckets(session, owner).add_to_counters(after.bucket_id, files=0, size=growth)
            await Replicas(session, owner).place_anew(after)
            await record_file(session, AuditKind.FILE_UPLOADED, after, replaced=True)
            return after

        return await self._transact_on_file(finish)

    async def cancel_replacement(self, file: FileRow, *, replacement_id: UUID) -> None:
        await self.database.write(
            lambda session: FileChanges(session, file.owner_id).cancel_replacement(
                file.id, replacement_id=replacement_id
            )
        )

    async def chunks_of(self, upload: ExpectedUpload) -> Sequence[ChunkRow]:
        async with self.database.read() as session:
            chunks = Chunks(session, upload.file.owner_id)
            return await chunks.of_upload(upload.file.id, upload.id)

    async def append_chunk(self, upload: ExpectedUpload, chunk: ChunkRow) -> bool:
        return await self.database.write(
            lambda session: Chunks(session, upload.file.owner_id).append(chunk)
        )

    async def clear_chunks(self, upload: ExpectedUpload) -> Sequence[ChunkRow]:
        return await self.database.write(
            lambda session: Chunks(session, upload.file.owner_id).clear(upload.file.id, upload.id)
        )

    async def begin_deletion(self, owner: OwnerId, file_id: UUID) -> None:
        async def detach(session: Session) -> None:
            file = await _lock_file(session, owner, file_id)
            if file.bucket_id is None:
                return  # a concurrent deletion of the file or of its bucket has begun
            await Files(session, owner).detach(file.bucket_id, file_id)
            await Buckets(session, owner).add_to_counters(file.bucket_id, files=-1, size=-file.size)
            await Replicas(session, owner).release(file_id)
            if current_actor.get().is_known:
                await record_file(session, AuditKind.FILE_DELETED, file)

        await self._transact_on_file(detach)

    async def known_files(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        async with self.database.read() as session:
            return await UnscopedFiles(session).by_id(ids)

    async def stale_uploads(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        async with self.database.read() as session:
            return await UnscopedFiles(session).stale(older_than=older_than, limit=limit)

    async def cancel_stale_replacements(self, *, older_than: timedelta) -> int:
        return await self.database.write(
            lambda session: UnscopedFiles(session).cancel_stale_replacements(older_than=older_than)
        )

    async def known_chunks(self, object_ids: Sequence[UUID]) -> set[UUID]:
        async with self.database.read() as session:
            return await UnscopedChunks(session).known(object_ids)

    async def remove_stale_chunks(self) -> int:
        return await self.database.write(lambda session: UnscopedChunks(session).remove_stale())

    async def deleting_files(self, *, limit: int) -> Sequence[UUID]:
        async with self.database.read() as session:
            return await UnscopedFiles(session).deleting(limit=limit)

    async def end_deletion(self, ids: Sequence[UUID]) -> None:
        await self.database.write(lambda session: UnscopedFiles(session).remove(ids))

    async def _transact_on_file(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Runs `work`, and again if the file was moved meanwhile.

        A new transaction holds no lock: with that of the first bucket, locking the second one
        could deadlock.
        """
        while True:
            with contextlib.suppress(_FileMoved):
                return await self.database.transaction(work)

    async def _reserve(
        self, session: Session, owner: OwnerId, new: NewFile, *, file_id: UUID
    ) -> FileRow:
        buckets = Buckets(session, owner)
        errors.check_quota(self._quota, await buckets.usage(), more=new.size)
        await buckets.add_to_counters(new.bucket_id, files=1, size=new.size)
        file = await Files(session, owner).create(new, file_id=file_id)
        await Replicas(session, owner).place(file)
        return file


async def record_file(session: Session, kind: AuditKind, file: FileRow, **details: object) -> None:
    """Records an act on a file in the audit log."""
    await record(
        session,
        kind,
        owner_id=file.owner_id,
        subject_id=file.id,
        subject_name=file.location,
        details={
            "bucketId": None if file.bucket_id is None else f"bucket_{file.bucket_id.hex}",
            "bytes": file.size,
            **details,
        },
    )


async def _lock_file(
    session: Session, owner: OwnerId, file_id: UUID, *, also: UUID | None = None
) -> FileRow:
    """Locks the bucket of a file (and the bucket `also`), then the file, and returns it.

    The bucket is locked first, as everywhere.

    Raises:
        _FileMoved: the file was moved before the locks were granted.
    """
    files, buckets = FileChanges(session, owner), Buckets(session, owner)
    file = await files.require(file_id)
    if file.bucket_id is None:
        return file
    await buckets.lock_all({file.bucket_id, also or file.bucket_id})
    locked = await files.lock(file_id)
    if locked.bucket_id not in {None, file.bucket_id}:
        raise _FileMoved
    return locked


def _add_file_request(new: NewFile, source: str) -> tuple[object, ...]:
    """Identifies a request by its source, because a second export may differ in size."""
    return ("addFile", new._replace(size=0), source)
