"""Everything storage can do, as one protocol: PostgreSQL's way and the twin in memory keep it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from db.kit.base import OwnerId
from db.kit.paging import Page, Window
from db.storage.rows import BspRow, BucketRow, FileRow, NewBsp, NewFile, Upload

Pages = Mapping[UUID, Page[FileRow]]


class StorageOperations(Protocol):
    """Each call is a transaction of its own: done whole, or an error and nothing done.

    Reads see what `owner` may read: their own things, and public buckets with their files. Changes
    reach what is their own: `Forbidden` for another's, `NotFound` for what is not there.
    """

    # Providers belong to nobody: `owner` may read them all, and who may change them is asked above

    async def create_bsp(
        self, owner: OwnerId, new: NewBsp, *, idempotency_key: str | None = None
    ) -> BspRow: ...

    async def update_bsp_capacity(
        self, owner: OwnerId, bsp_id: UUID, capacity: int, *, expected_version: int | None = None
    ) -> BspRow:
        """Never under what is used."""
        ...

    async def set_bsp_multiaddresses(
        self, owner: OwnerId, bsp_id: UUID, multiaddresses: Sequence[str]
    ) -> BspRow: ...

    async def delete_bsp(self, owner: OwnerId, bsp_id: UUID) -> None:
        """Not while it keeps a file."""
        ...

    async def bsps_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[BspRow]: ...

    async def bsps(self, owner: OwnerId, window: Window) -> Page[BspRow]: ...

    async def count_bsps(self, owner: OwnerId) -> int: ...

    # Buckets

    async def create_bucket(
        self, owner: OwnerId, name: str, *, private: bool, idempotency_key: str | None = None
    ) -> BucketRow: ...

    async def rename_bucket(
        self, owner: OwnerId, bucket_id: UUID, name: str, *, expected_version: int | None = None
    ) -> BucketRow: ...

    async def delete_bucket(
        self, owner: OwnerId, bucket_id: UUID, *, with_files: bool
    ) -> Sequence[UUID]:
        """The ids of its files, whose bytes are still to be removed."""
        ...

    async def buckets_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[BucketRow]: ...

    async def buckets(self, owner: OwnerId, window: Window) -> Page[BucketRow]: ...

    async def count_buckets(self, owner: OwnerId) -> int: ...

    # Files

    async def create_file(
        self, owner: OwnerId, new: NewFile, *, idempotency_key: str | None = None
    ) -> FileRow:
        """Makes room: in the quota, in the bucket, and on the providers with most of it."""
        ...

    async def expect_file(
        self, owner: OwnerId, new: NewFile, *, source: str, idempotency_key: str | None = None
    ) -> FileRow | None:
        """What `add_file` has answered under this key; else None, or what it would refuse by now.

        The size and the room on providers are not asked about: both are known when it is added.
        """
        ...

    async def add_file(
        self,
        owner: OwnerId,
        new: NewFile,
        upload: Upload,
        *,
        source: str,
        idempotency_key: str | None = None,
    ) -> FileRow:
        """Makes room for bytes that are there already: STORED at once, with their size.

        `source` says what they are made of: the same key for another is a Conflict.
        """
        ...

    async def finish_upload(self, file: FileRow, *, object_id: UUID, fingerprint: bytes) -> FileRow:
        """PENDING becomes STORED: the bytes of `object_id` are the file's from now on.

        Told twice of the same bytes, it answers twice; the first upload's stay.
        """
        ...

    async def begin_deletion(self, owner: OwnerId, file_id: UUID) -> None:
        """It is out of its bucket and off its providers; its bytes are still to be removed."""
        ...

    async def files_by_id(self, owner: OwnerId, ids: Sequence[UUID]) -> Sequence[FileRow]: ...

    async def file_by_key(self, owner: OwnerId, key: bytes) -> FileRow | None: ...

    async def files(self, owner: OwnerId, window: Window) -> Page[FileRow]: ...

    async def count_files(self, owner: OwnerId) -> int: ...

    async def files_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], window: Window, *, under: str | None
    ) -> Pages:
        """The same page of each bucket, by location; `under` a folder and all within it."""
        ...

    async def count_files_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], *, under: str | None
    ) -> Mapping[UUID, int]: ...

    async def files_of_bsps(self, owner: OwnerId, bsp_ids: Sequence[UUID], window: Window) -> Pages:
        """Of the owner's own files, what each provider keeps."""
        ...

    async def count_files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID]
    ) -> Mapping[UUID, int]: ...

    async def bsps_of_files(
        self, owner: OwnerId, file_ids: Sequence[UUID]
    ) -> Mapping[UUID, Sequence[UUID]]: ...

    # For signed links and sweeps, which know no owner

    async def known_files(self, ids: Sequence[UUID]) -> Sequence[FileRow]: ...

    async def stale_uploads(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]: ...

    async def deleting_files(self, *, limit: int) -> Sequence[UUID]: ...

    async def end_deletion(self, ids: Sequence[UUID]) -> None:
        """Forgets those of `ids` that are being deleted: their bytes are gone."""
        ...
