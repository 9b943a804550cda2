"""Storage as PostgreSQL keeps it. Locks are taken in one order: owner, bucket, placement, bsps."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar
from uuid import UUID

from db.kit.base import OwnerId, new_id
from db.kit.idempotency import Idempotency
from db.kit.paging import Page, Window
from db.postgres.engine import Database, ReadSession, Session
from db.storage import errors, rules
from db.storage.bsps import Bsps
from db.storage.buckets import Buckets
from db.storage.files import Files
from db.storage.replicas import Replicas
from db.storage.rows import BspRow, BucketRow, FileRow, NewBsp, NewFile, Quota, Upload
from db.storage.unscoped import UnscopedFiles

Row = TypeVar("Row", bound=NamedTuple)
Rows = TypeVar("Rows")
Answer = TypeVar("Answer")
_NO_LIMIT = Quota()


class PostgresStorage:
    """See StorageOperations, whose promises these are."""

    def __init__(self, database: Database, *, quota: Quota = _NO_LIMIT) -> None:
        self._database = database
        self._quota = quota

    # Providers

    async def create_bsp(
        self, owner: OwnerId, new: NewBsp, *, idempotency_key: str | None = None
    ) -> BspRow:
        new = rules.checked_bsp(new)
        return await self._once(
            owner,
            lambda session: Bsps(session, owner).create(new),
            key=idempotency_key,
            asked=("createBsp", new),
            answer=BspRow,
        )

    async def update_bsp_capacity(
        self,
        owner: OwnerId,
        bsp_id: UUID,
        capacity: int,
        *,
        expected_version: int | None = None,
    ) -> BspRow:
        capacity = rules.checked_capacity(capacity)
        return await self._change(
            Bsps,
            owner,
            lambda bsps: bsps.set_capacity(bsp_id, capacity, expected_version=expected_version),
        )

    async def set_bsp_multiaddresses(
        self, owner: OwnerId, bsp_id: UUID, multiaddresses: Sequence[str]
    ) -> BspRow:
        checked = rules.checked_multiaddresses(multiaddresses)
        return await self._change(
            Bsps, owner, lambda bsps: bsps.update(bsp_id, multiaddresses=checked)
        )

    async def delete_bsp(self, owner: OwnerId, bsp_id: UUID) -> None:
        await self._change(Bsps, owner, lambda bsps: bsps.remove(bsp_id))

    async def bsps_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[BspRow]:
        return await self._read(Bsps, owner, lambda bsps: bsps.get_many(ids))

    async def bsps(self, owner: OwnerId, window: Window) -> Page[BspRow]:
        return await self._read(Bsps, owner, lambda bsps: bsps.page(window))

    async def count_bsps(self, owner: OwnerId) -> int:
        return await self._read(Bsps, owner, Bsps.count)

    # Buckets

    async def create_bucket(
        self, owner: OwnerId, name: str, *, private: bool, idempotency_key: str | None = None
    ) -> BucketRow:
        name = rules.bucket_name_rule.checked(name)
        return await self._once(
            owner,
            lambda session: Buckets(session, owner).create(name, private=private),
            key=idempotency_key,
            asked=("createBucket", name, private),
            answer=BucketRow,
        )

    async def rename_bucket(
        self, owner: OwnerId, bucket_id: UUID, name: str, *, expected_version: int | None = None
    ) -> BucketRow:
        name = rules.bucket_name_rule.checked(name)
        return await self._change(
            Buckets,
            owner,
            lambda buckets: buckets.update(bucket_id, expected_version=expected_version, name=name),
        )

    async def delete_bucket(
        self, owner: OwnerId, bucket_id: UUID, *, with_files: bool
    ) -> Sequence[UUID]:
        async def delete(session: Session) -> Sequence[UUID]:
            buckets = Buckets(session, owner)
            bucket = await buckets.lock(bucket_id)
            if bucket is None:
                raise await buckets.missing_row_error(bucket_id, field="id")
            if bucket.file_count and not with_files:
                raise errors.bucket_not_empty(bucket.file_count)
            await Replicas(session, owner).release_all(bucket_id)
            files = await Files(session, owner).detach(bucket_id)
            await buckets.remove(bucket_id)
            return [file.id for file in files]

        return await self._database.transaction(delete)

    async def buckets_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[BucketRow]:
        return await self._read(Buckets, owner, lambda buckets: buckets.get_many(ids))

    async def buckets(self, owner: OwnerId, window: Window) -> Page[BucketRow]:
        return await self._read(Buckets, owner, lambda buckets: buckets.page(window))

    async def count_buckets(self, owner: OwnerId) -> int:
        return await self._read(Buckets, owner, Buckets.count)

    # Files

    async def create_file(
        self, owner: OwnerId, new: NewFile, *, idempotency_key: str | None = None
    ) -> FileRow:
        new = rules.checked_file(new)
        return await self._once(
            owner,
            lambda session: self._make_room(session, owner, new, file_id=new_id()),
            key=idempotency_key,
            asked=("createFile", new),
            answer=FileRow,
        )

    async def expect_file(
        self, owner: OwnerId, new: NewFile, *, source: str, idempotency_key: str | None = None
    ) -> FileRow | None:
        new = rules.checked_file(new)

        async def expect(session: Session) -> FileRow | None:
            if idempotency_key is not None:
                keys, asked = Idempotency(session, owner), _asked_to_add(new, source)
                added = await keys.find_answer(idempotency_key, asked, answer=FileRow)
                if added is not None:
                    return added
            buckets = Buckets(session, owner)
            errors.check_quota(self._quota, await buckets.used(), more=new.size)
            await buckets.count_in(new.bucket_id, files=0, size=0)
            if await Files(session, owner).is_taken(new.bucket_id, new.location):
                raise errors.conflict(errors.LOCATION_TAKEN)
            return None

        return await self._database.transaction(expect)

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
            file = await self._make_room(session, owner, new, file_id=upload.file_id)
            return await Files(session, owner).finish(
                file, object_id=upload.object_id, fingerprint=upload.fingerprint
            )

        return await self._once(
            owner, add, key=idempotency_key, asked=_asked_to_add(new, source), answer=FileRow
        )

    async def finish_upload(self, file: FileRow, *, object_id: UUID, fingerprint: bytes) -> FileRow:
        return await self._change(
            Files,
            file.owner_id,
            lambda files: files.finish(file, object_id=object_id, fingerprint=fingerprint),
        )

    async def begin_deletion(self, owner: OwnerId, file_id: UUID) -> None:
        async def detach(session: Session) -> None:
            buckets, files = Buckets(session, owner), Files(session, owner)
            file = await files.require_owned(file_id)
            if file.bucket_id is None or await buckets.lock(file.bucket_id) is None:
                return  # somebody else has begun, perhaps with the whole bucket
            for gone in await files.detach(file.bucket_id, file_id):
                await buckets.count_in(file.bucket_id, files=-1, size=-gone.size)
                await Replicas(session, owner).release(file_id)

        await self._database.transaction(detach)

    async def files_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return await self._read(Files, owner, lambda files: files.get_many(ids))

    async def file_by_key(self, owner: OwnerId, key: bytes) -> FileRow | None:
        return await self._read(Files, owner, lambda files: files.by_key(key))

    async def files(self, owner: OwnerId, window: Window) -> Page[FileRow]:
        return await self._read(Files, owner, lambda files: files.page(window))

    async def count_files(self, owner: OwnerId) -> int:
        return await self._read(Files, owner, Files.count)

    async def files_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], window: Window, *, under: str | None
    ) -> Mapping[UUID, Page[FileRow]]:
        folder = None if under is None else rules.checked_folder(under)
        return await self._read(
            Files, owner, lambda files: files.of_buckets(bucket_ids, window, under=folder)
        )

    async def count_files_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], *, under: str | None
    ) -> Mapping[UUID, int]:
        folder = None if under is None else rules.checked_folder(under)
        return await self._read(
            Files, owner, lambda files: files.count_of_buckets(bucket_ids, under=folder)
        )

    async def files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[FileRow]]:
        return await self._read(Files, owner, lambda files: files.of_bsps(bsp_ids, window))

    async def count_files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        return await self._read(Files, owner, lambda files: files.count_of_bsps(bsp_ids))

    async def bsps_of_files(
        self, owner: OwnerId, file_ids: Sequence[UUID]
    ) -> Mapping[UUID, Sequence[UUID]]:
        return await self._read(Replicas, owner, lambda replicas: replicas.of_files(file_ids))

    # For signed links and sweeps

    async def known_files(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        async with self._database.read() as session:
            return await UnscopedFiles(session).by_id(ids)

    async def stale_uploads(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        async with self._database.read() as session:
            return await UnscopedFiles(session).stale(older_than=older_than, limit=limit)

    async def deleting_files(self, *, limit: int) -> Sequence[UUID]:
        async with self._database.read() as session:
            return await UnscopedFiles(session).deleting(limit=limit)

    async def end_deletion(self, ids: Sequence[UUID]) -> None:
        await self._database.write(lambda session: UnscopedFiles(session).forget(ids))

    # How each of them reaches its rows

    async def _make_room(
        self, session: Session, owner: OwnerId, new: NewFile, *, file_id: UUID
    ) -> FileRow:
        buckets = Buckets(session, owner)
        errors.check_quota(self._quota, await buckets.used(), more=new.size)
        await buckets.count_in(new.bucket_id, files=1, size=new.size)
        file = await Files(session, owner).create(new, file_id=file_id)
        await Replicas(session, owner).place(file)
        return file

    async def _read(
        self,
        of: Callable[[ReadSession, OwnerId], Rows],
        owner: OwnerId,
        work: Callable[[Rows], Awaitable[Answer]],
    ) -> Answer:
        async with self._database.read() as session:
            return await work(of(session, owner))

    async def _change(
        self,
        of: Callable[[Session, OwnerId], Rows],
        owner: OwnerId,
        work: Callable[[Rows], Awaitable[Answer]],
    ) -> Answer:
        return await self._database.write(lambda session: work(of(session, owner)))

    async def _once(
        self,
        owner: OwnerId,
        work: Callable[[Session], Awaitable[Row]],
        *,
        key: str | None,
        asked: object,
        answer: type[Row],
    ) -> Row:
        async def guarded(session: Session) -> Row:
            if key is None:
                return await work(session)
            keys = Idempotency(session, owner)
            return await keys.run_once(key, asked, lambda: work(session), answer=answer)

        return await self._database.transaction(guarded)


def _asked_to_add(new: NewFile, source: str) -> tuple[object, ...]:
    """Whatever comes of the same source is the same file: it need not have the same size again."""
    return ("addFile", new._replace(size=0), source)
