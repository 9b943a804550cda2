# ruff: noqa: ARG002 - providers have no owner, but the protocol passes one
"""The in-memory implementation of StorageOperations.

No method awaits, so each call is atomic: it checks everything before it changes anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Page, Window
from db.storage import errors, rules
from db.storage.memory.files import MemoryFiles
from db.storage.memory.pages import folder_page, page
from db.storage.memory.tables import (
    check_version,
    existing,
    now_twice,
    store_row,
    with_free_capacity,
    with_new_version,
)
from db.storage.rows import (
    BY_LOCATION,
    BY_NAME,
    NEWEST,
    BspRow,
    BucketRow,
    FileRow,
    FolderRow,
    NewBsp,
)

Row = TypeVar("Row", bound=NamedTuple)


class MemoryStorage(MemoryFiles):
    """Implements StorageOperations."""

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
            bucket = BucketRow(new_id(), name, private, 0, 0, *now_twice(), 1, owner)
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
        self, owner: OwnerId, bucket_id: UUID, *, with_files: bool, limit: int
    ) -> Sequence[UUID]:
        bucket = self._tables.owned_bucket(owner, bucket_id)
        if bucket.file_count and not with_files:
            raise errors.bucket_not_empty(bucket.file_count)
        files = [file for file in self._tables.files.values() if file.bucket_id == bucket_id]
        for file in files:
            self._tables.detach(file)
        del self._tables.buckets[bucket_id]
        return [file.id for file in files[:limit]]

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
        self,
        owner: OwnerId,
        bucket_ids: Sequence[UUID],
        window: Window,
        *,
        under: str | None,
        recursive: bool = True,
    ) -> Mapping[UUID, Page[FileRow]]:
        order = BY_LOCATION if recursive else BY_NAME
        found = {
            one: self._tables.files_in(owner, one, under, recursive=recursive) for one in bucket_ids
        }
        return {one: page(files, window, order) for one, files in found.items()}

    async def count_files_of_buckets(
        self,
        owner: OwnerId,
        bucket_ids: Sequence[UUID],
        *,
        under: str | None,
        recursive: bool = True,
    ) -> Mapping[UUID, int]:
        return {
            one: len(found)
            for one in bucket_ids
            if (found := self._tables.files_in(owner, one, under, recursive=recursive))
        }

    async def folders_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], window: Window, *, under: str | None
    ) -> Mapping[UUID, Page[FolderRow]]:
        return {
            one: folder_page(self._tables.folders_in(owner, one, under), window)
            for one in bucket_ids
        }

    async def count_folders_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], *, under: str | None
    ) -> Mapping[UUID, int]:
        return {
            one: len(found)
            for one in bucket_ids
            if (found := self._tables.folders_in(owner, one, under))
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
