"""The operations of storage as protocols, implemented by PostgreSQL and by the in-memory twin."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from db.kit.base import OwnerId
from db.kit.lists.paging import Page, Window
from db.storage.rows import (
    BspRow,
    BucketRow,
    ChunkRow,
    ExpectedUpload,
    FileRow,
    FolderRow,
    NewBsp,
    NewFile,
    Upload,
)

Pages = Mapping[UUID, Page[FileRow]]


class FileOperations(Protocol):
    """The operations that take several steps, and those without a viewer.

    Uploads, exports, sweeps and signed links use them, so their unit tests need no database. Each
    call is one transaction: on an error nothing has changed.

    Raises:
        Forbidden: the bucket or file to change belongs to another user.
        NotFound: the bucket or file to change does not exist.
    """

    async def delete_bucket(
        self, owner: OwnerId, bucket_id: UUID, /, *, with_files: bool, limit: int
    ) -> Sequence[UUID]:
        """Returns the IDs of up to `limit` of its files.

        The bytes of all its files must still be removed, which a sweep does otherwise.
        """
        ...

    async def create_file(
        self, owner: OwnerId, new: NewFile, /, *, idempotency_key: str | None = None
    ) -> FileRow:
        """Reserves space in the quota, in the bucket, and on the providers with most free space."""
        ...

    async def expect_file(
        self, owner: OwnerId, new: NewFile, /, *, source: str, idempotency_key: str | None = None
    ) -> FileRow | None:
        """Returns the file that `add_file` stored under the same key, or None.

        Without a stored answer it raises the errors that `add_file` would raise now, except those
        that depend on the size or on the free space of providers.
        """
        ...

    async def add_file(
        self,
        owner: OwnerId,
        new: NewFile,
        upload: Upload,
        /,
        *,
        source: str,
        idempotency_key: str | None = None,
    ) -> FileRow:
        """Creates the row of bytes that are already in the object store, in state STORED.

        `source` identifies what the bytes were made from.

        Raises:
            Conflict: `idempotency_key` was used for another source.
        """
        ...

    async def finish_upload(
        self, file: FileRow, /, *, object_id: UUID, fingerprint: bytes
    ) -> FileRow:
        """Makes a pending file STORED, with the bytes of the object `object_id`.

        A second upload of the same bytes returns the file as the first upload left it.

        Raises:
            Conflict: the file is not pending and has other bytes, or none.
        """
        ...

    async def move_file(
        self,
        owner: OwnerId,
        file_id: UUID,
        /,
        *,
        expected_version: int | None = None,
        **changes: Any,
    ) -> FileRow:
        """Moves a file within the owner's buckets, to the `bucket_id` and `location` in `changes`.

        A file that is already there is returned as it is, so that a retry is safe. Its replicas
        stay where they are.

        Raises:
            Conflict: the location is in use, or the version is another.
        """
        ...

    async def begin_replacement(
        self,
        owner: OwnerId,
        file_id: UUID,
        /,
        *,
        size: int,
        content_type: str | None = None,
        expected_version: int | None = None,
    ) -> FileRow:
        """Prepares new bytes for a stored file, which serves the old ones until they are there.

        It cancels a pending replacement. The quota counts the larger one of the two sizes.

        Raises:
            Conflict: the file is not stored, the version is another, or too few providers have
                space for the new size.
        """
        ...

    async def finish_replacement(
        self, file: FileRow, /, *, replacement_id: UUID, object_id: UUID, fingerprint: bytes
    ) -> FileRow:
        """Switches to the new bytes, and places the replicas anew.

        A second upload of the same bytes returns the file as the first upload left it.

        Raises:
            Conflict: the replacement is not pending and has other bytes, or too few providers have
                space for the new size.
        """
        ...

    async def cancel_replacement(self, file: FileRow, /, *, replacement_id: UUID) -> None:
        """Cancels a replacement that is pending."""
        ...

    async def chunks_of(self, upload: ExpectedUpload, /) -> Sequence[ChunkRow]:
        """The received chunks of an upload, in their order."""
        ...

    async def append_chunk(self, upload: ExpectedUpload, /, chunk: ChunkRow) -> bool:
        """Adds a chunk if the upload is expected and has exactly the bytes before it.

        Of several chunks for one position, also on several replicas, one is added.
        """
        ...

    async def clear_chunks(self, upload: ExpectedUpload, /) -> Sequence[ChunkRow]:
        """Removes the chunks of an upload and returns them. Their bytes must still be removed."""
        ...

    async def begin_deletion(self, owner: OwnerId, file_id: UUID, /) -> None:
        """Removes the file from its bucket and providers. Its bytes must still be removed."""
        ...

    # Without an owner: for signed links and sweeps

    async def known_files(self, ids: Sequence[UUID], /) -> Sequence[FileRow]: ...

    async def stale_uploads(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]: ...

    async def cancel_stale_replacements(self, *, older_than: timedelta) -> int:
        """Cancels the pending replacements of that age and returns their number."""
        ...

    async def known_chunks(self, object_ids: Sequence[UUID], /) -> set[UUID]: ...

    async def remove_stale_chunks(self) -> int:
        """Removes the chunks of uploads that no file waits for, and returns their number."""
        ...

    async def deleting_files(self, *, limit: int) -> Sequence[UUID]:
        """In random order, so that files whose bytes cannot be removed delay others only."""
        ...

    async def end_deletion(self, ids: Sequence[UUID], /) -> None:
        """Deletes the rows of those of `ids` that are in state DELETING."""
        ...


class StorageOperations(FileOperations, Protocol):
    """All operations of storage.

    Reads return what `owner` can read: their own rows, and public buckets with their files. The
    server calls the repositories for these; the protocol is what the twin is compared by.
    """

    # Providers have no owner: everyone can read them, and the caller checks who may change them

    async def create_bsp(
        self, owner: OwnerId, new: NewBsp, /, *, idempotency_key: str | None = None
    ) -> BspRow: ...

    async def update_bsp_capacity(
        self, owner: OwnerId, bsp_id: UUID, /, capacity: int, *, expected_version: int | None = None
    ) -> BspRow:
        """Raises Conflict if `capacity` is less than the used capacity."""
        ...

    async def set_bsp_multiaddresses(
        self,
        owner: OwnerId,
        bsp_id: UUID,
        /,
        multiaddresses: Sequence[str],
        *,
        expected_version: int | None = None,
    ) -> BspRow: ...

    async def delete_bsp(
        self, owner: OwnerId, bsp_id: UUID, /, *, expected_version: int | None = None
    ) -> UUID:
        """Raises Conflict if the provider stores a file."""
        ...

    async def bsps_by_id(self, owner: OwnerId, ids: Sequence[UUID], /) -> Sequence[BspRow]: ...

    async def bsps(self, owner: OwnerId, window: Window, /) -> Page[BspRow]: ...

    async def count_bsps(self, owner: OwnerId, /) -> int: ...

    # Buckets

    async def create_bucket(
        self, owner: OwnerId, name: str, /, *, private: bool, idempotency_key: str | None = None
    ) -> BucketRow: ...

    async def update_bucket(
        self,
        owner: OwnerId,
        bucket_id: UUID,
        /,
        *,
        expected_version: int | None = None,
        **changes: Any,
    ) -> BucketRow: ...

    async def buckets_by_id(
        self, owner: OwnerId, ids: Sequence[UUID], /
    ) -> Sequence[BucketRow]: ...

    async def buckets(self, owner: OwnerId, window: Window, /) -> Page[BucketRow]: ...

    async def count_buckets(self, owner: OwnerId, /) -> int: ...

    # Files

    async def files_by_id(self, owner: OwnerId, ids: Sequence[UUID], /) -> Sequence[FileRow]: ...

    async def file_by_key(self, owner: OwnerId, key: bytes, /) -> FileRow | None: ...

    async def files(self, owner: OwnerId, window: Window, /) -> Page[FileRow]: ...

    async def count_files(self, owner: OwnerId, /) -> int: ...

    async def files_of_buckets(
        self,
        owner: OwnerId,
        bucket_ids: Sequence[UUID],
        window: Window,
        /,
        *,
        under: str | None,
        recursive: bool = True,
    ) -> Pages:
        """The same page of each bucket, by location; `under` selects a folder.

        If not `recursive`, files in subfolders are left out.
        """
        ...

    async def count_files_of_buckets(
        self,
        owner: OwnerId,
        bucket_ids: Sequence[UUID],
        /,
        *,
        under: str | None,
        recursive: bool = True,
    ) -> Mapping[UUID, int]: ...

    async def folders_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], window: Window, /, *, under: str | None
    ) -> Mapping[UUID, Page[FolderRow]]:
        """The same page of the folders of each bucket, one level deep; `under` selects a folder."""
        ...

    async def count_folders_of_buckets(
        self, owner: OwnerId, bucket_ids: Sequence[UUID], /, *, under: str | None
    ) -> Mapping[UUID, int]: ...

    async def files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID], window: Window, /
    ) -> Pages:
        """The same page of each provider, of the owner's own files only."""
        ...

    async def count_files_of_bsps(
        self, owner: OwnerId, bsp_ids: Sequence[UUID], /
    ) -> Mapping[UUID, int]: ...

    async def bsps_of_files(
        self, owner: OwnerId, file_ids: Sequence[UUID], /
    ) -> Mapping[UUID, Sequence[UUID]]: ...
