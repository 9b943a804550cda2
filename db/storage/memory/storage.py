# ruff: noqa: ARG002 - providers have no owner, but the protocol passes one
"""The in-memory implementation of StorageOperations.

No method awaits, so each call is atomic: it checks everything before it changes anything.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import Conflict
from db.kit.base import OwnerId, new_id
from db.kit.paging import Page, Window
from db.storage import errors, rules
from db.storage.memory.pages import page
from db.storage.memory.tables import (
    Tables,
    ago,
    check_version,
    existing,
    now_twice,
    pending,
    store_row,
    with_free_capacity,
    with_new_version,
)
from db.storage.rows import (
    BY_LOCATION,
    NEWEST,
    UPLOAD_WITHIN,
    BspRow,
    BucketRow,
    FileRow,
    FileStatus,
    NewBsp,
    NewFile,
    Quota,
    Upload,
    file_key,
)

Row = TypeVar("Row", bound=NamedTuple)


class MemoryStorage:
    def __init__(self, *, quota: Quota = Quota()) -> None:  # noqa: B008 - it is immutable
        self._quota = quota
        self._tables = Tables()
        self._answers: dict[tuple[OwnerId, str], tuple[object, Any]] = {}

    # Providers

    async def create_bsp(
        self, owner: OwnerId, new: NewBsp, *, idempotency_key: str | None = None
    ) -> BspRow:
        request = ("createBsp", new)
        new = rules.checked_bsp(new)

        def create() -> BspRow:
            if any(bsp.account == new.account for bsp in self._tables.bsps.values()):
                raise errors.conflict(errors.ACCOUNT_TAKEN)
            capacity, addresses = new.capacity, new.multiaddresses
            return store_row(
                self._tables.bsps,
                BspRow(new_id(), new.account, capacity, 0, capacity, addresses, *now_twice(), 1),
            )

        return self._once(owner, idempotency_key, request, create)

    async def update_bsp_capacity(
        self,
        owner: OwnerId,
        bsp_id: UUID,
        capacity: int,
        *,
        expected_version: int | None = None,
    ) -> BspRow:
        capacity = rules.checked_capacity(capacity)
        bsp = self._tables.bsp(bsp_id)
        if bsp.used_capacity > capacity:
            raise errors.capacity_in_use(bsp.used_capacity)
        check_version("provider", bsp.version, expected_version)
        return store_row(
            self._tables.bsps, with_free_capacity(with_new_version(bsp, capacity=capacity))
        )

    async def set_bsp_multiaddresses(
        self,
        owner: OwnerId,
        bsp_id: UUID,
        multiaddresses: Sequence[str],
        *,
        expected_version: int | None = None,
    ) -> BspRow:
        checked = rules.checked_multiaddresses(multiaddresses)
        bsp = self._tables.bsp(bsp_id)
        check_version("provider", bsp.version, expected_version)
        return store_row(self._tables.bsps, with_new_version(bsp, multiaddresses=checked))

    async def delete_bsp(
        self, owner: OwnerId, bsp_id: UUID, *, expected_version: int | None = None
    ) -> UUID:
        bsp = self._tables.bsp(bsp_id)
        check_version("provider", bsp.version, expected_version)
        if any(bsp_id in kept for kept in self._tables.replicas.values()):
            raise errors.conflict(errors.STILL_HAS_FILES)
        del self._tables.bsps[bsp.id]
        return bsp_id

    async def bsps_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[BspRow]:
        return existing(self._tables.bsps, ids)

    async def bsps(self, owner: OwnerId, window: Window) -> Page[BspRow]:
        return page(self._tables.bsps.values(), window, NEWEST)

    async def count_bsps(self, owner: OwnerId) -> int:
        return len(self._tables.bsps)

    # Buckets

    async def create_bucket(
        self, owner: OwnerId, name: str, *, private: bool, idempotency_key: str | None = None
    ) -> BucketRow:
        request = ("createBucket", name, private)
        name = rules.bucket_name_rule.checked(name)

        def create() -> BucketRow:
            self._tables.check_name_free(owner, name)
            bucket = BucketRow(new_id(), name, private, 0, 0, *now_twice(), 1)
            self._tables.owners[bucket.id] = owner
            return store_row(self._tables.buckets, bucket)

        return self._once(owner, idempotency_key, request, create)

    async def update_bucket(
        self,
        owner: OwnerId,
        bucket_id: UUID,
        /,
        *,
        expected_version: int | None = None,
        **changes: Any,
    ) -> BucketRow:
        checked = rules.checked_bucket_changes(changes)
        bucket = self._tables.owned_bucket(owner, bucket_id)
        check_version("bucket", bucket.version, expected_version)
        if not checked:
            return bucket
        self._tables.check_name_free(owner, checked.get("name", bucket.name), ignore=bucket_id)
        return store_row(self._tables.buckets, with_new_version(bucket, **checked))

    async def delete_bucket(
        self, owner: OwnerId, bucket_id: UUID, *, with_files: bool
    ) -> Sequence[UUID]:
        bucket = self._tables.owned_bucket(owner, bucket_id)
        if bucket.file_count and not with_files:
            raise errors.bucket_not_empty(bucket.file_count)
        files = [file for file in self._tables.files.values() if file.bucket_id == bucket_id]
        for file in files:
            self._tables.detach(file)
        del self._tables.buckets[bucket_id], self._tables.owners[bucket_id]
        return [file.id for file in files]

    async def buckets_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[BucketRow]:
        return [
            bucket
            for bucket in existing(self._tables.buckets, ids)
            if self._tables.can_read(owner, bucket.id)
        ]

    async def buckets(self, owner: OwnerId, window: Window) -> Page[BucketRow]:
        return page(self._tables.owned_buckets(owner), window, NEWEST)

    async def count_buckets(self, owner: OwnerId) -> int:
        return len(self._tables.owned_buckets(owner))

    # Files

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
        owned = self._tables.owned_buckets(owner)
        used = Quota(
            bytes=sum(bucket.total_size for bucket in owned),
            files=sum(bucket.file_count for bucket in owned),
        )
        errors.check_quota(self._quota, used, more=new.size)
        bucket = self._tables.owned_bucket(owner, new.bucket_id, field="bucketId")
        if any(
            (file.bucket_id, file.location) == (bucket.id, new.location)
            for file in self._tables.files.values()
        ):
            raise errors.conflict(errors.LOCATION_TAKEN)
        return bucket

    def _reserve(self, owner: OwnerId, new: NewFile, file_id: UUID) -> FileRow:
        bucket, providers = self._check_new_file(owner, new), self._tables.choose_providers(new)
        return self._tables.add_file(bucket, pending(owner, new, file_id=file_id), providers)

    def _finish(self, file: FileRow, *, object_id: UUID, fingerprint: bytes) -> FileRow:
        key = file_key(file, fingerprint)
        known = self._tables.owned_file(file.owner_id, file.id)
        if known.key == key:
            return known
        if known.status != FileStatus.PENDING or known.created_at <= ago(UPLOAD_WITHIN):
            raise errors.upload_not_pending()
        stored = known._replace(
            status=FileStatus.STORED, object_id=object_id, fingerprint=fingerprint, key=key
        )
        return store_row(self._tables.files, stored._replace(updated_at=ago()))

    async def begin_deletion(self, owner: OwnerId, file_id: UUID) -> None:
        file = self._tables.owned_file(owner, file_id)
        if file.bucket_id is not None:
            self._tables.detach(file)

    async def files_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return [
            file
            for file in existing(self._tables.files, ids)
            if self._tables.can_read_file(owner, file)
        ]

    async def file_by_key(self, owner: OwnerId, key: bytes) -> FileRow | None:
        files = [file for file in self._tables.files.values() if file.key == key]
        return next((file for file in files if self._tables.can_read_file(owner, file)), None)

    async def files(self, owner: OwnerId, window: Window) -> Page[FileRow]:
        return page(self._tables.owned_files(owner), window, NEWEST)

    async def count_files(self, owner: OwnerId) -> int:
        return len(self._tables.owned_files(owner))

    async def files_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], window: Window, *, under: str | None
    ) -> Mapping[UUID, Page[FileRow]]:
        return {
            bucket_id: page(self._tables.files_in(owner, bucket_id, under), window, BY_LOCATION)
            for bucket_id in bucket_ids
        }

    async def count_files_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], *, under: str | None
    ) -> Mapping[UUID, int]:
        return {
            one: len(found)
            for one in bucket_ids
            if (found := self._tables.files_in(owner, one, under))
        }

    async def files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[FileRow]]:
        return {one: page(self._tables.files_at(owner, one), window, NEWEST) for one in bsp_ids}

    async def count_files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        return {one: len(found) for one in bsp_ids if (found := self._tables.files_at(owner, one))}

    async def bsps_of_files(
        self, owner: OwnerId, file_ids: Sequence[UUID]
    ) -> Mapping[UUID, Sequence[UUID]]:
        readable = {file.id for file in await self.files_by_id(owner, file_ids)}
        return {
            one: sorted(self._tables.replicas.get(one, [])) if one in readable else []
            for one in file_ids
        }

    # Without an owner: for signed links and sweeps

    async def known_files(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return existing(self._tables.files, ids)

    async def stale_uploads(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        latest = ago(older_than)
        pending = self._tables.in_state(FileStatus.PENDING)
        return [file for file in pending if file.created_at <= latest][:limit]

    async def deleting_files(self, *, limit: int) -> Sequence[UUID]:
        return [file.id for file in self._tables.in_state(FileStatus.DELETING)][:limit]

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
