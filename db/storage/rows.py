"""The rows and values of storage, shared by PostgreSQL and the in-memory twin."""

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from db.kit.base import OwnerId, TimestampText
from db.kit.lists.paging import SortOrder

UPLOAD_WITHIN = timedelta(hours=24)
"""How long an upload may take before the file is deleted, or the replacement cancelled."""

REPLACED_KEPT = timedelta(hours=1)
"""How long replaced bytes are kept for downloads that have begun, and for links to the store."""

NEWEST = SortOrder("created_at", descending=True)
BY_LOCATION = SortOrder("location", descending=False)
BY_NAME = SortOrder("name", descending=False)
BY_PATH = SortOrder("path", descending=False)


NO_REPLACEMENT: dict[str, Any] = {
    "replacement_size": None,
    "replacement_content_type": None,
    "replacement_created_at": None,
}
"""The columns of a file of which no replacement is pending."""


CANCELLED_REPLACEMENT: dict[str, Any] = NO_REPLACEMENT | {"replacement_id": None}
"""The columns of a file whose replacement was cancelled: only a complete one keeps its ID."""


class FileStatus(StrEnum):
    """The states of a file, in the order in which it passes through them."""

    PENDING = "PENDING"
    STORED = "STORED"
    DELETING = "DELETING"


class BspRow(NamedTuple):
    id: UUID
    account: str
    capacity: int
    used_capacity: int
    free_capacity: int
    multiaddresses: list[str]
    created_at: TimestampText
    updated_at: TimestampText
    version: int


class BucketRow(NamedTuple):
    id: UUID
    name: str
    private: bool
    file_count: int
    total_size: int
    created_at: TimestampText
    updated_at: TimestampText
    version: int
    owner_id: OwnerId | None = None
    """Null in a row that an earlier version has kept for an idempotency key."""


class FileRow(NamedTuple):
    """Includes the owner, because a signed link has no viewer."""

    id: UUID
    owner_id: OwnerId
    bucket_id: UUID | None
    location: str
    size: int
    content_type: str
    status: str
    """A `FileStatus`."""
    desired_replicas: int
    object_id: UUID | None
    fingerprint: bytes | None
    key: bytes | None
    created_at: TimestampText
    updated_at: TimestampText
    version: int = 1
    object_location: str | None = None
    """The location that the object was stored with. None if the file has not moved since."""
    previous_object_id: UUID | None = None
    """The object before the last replacement, which running downloads may still read."""
    replaced_at: TimestampText | None = None
    replacement_id: UUID | None = None
    """The last replacement. It is pending while `replacement_size` is not None."""
    replacement_size: int | None = None
    replacement_content_type: str | None = None
    replacement_created_at: TimestampText | None = None
    name: str = ""
    """The last part of `location`."""


class FolderRow(NamedTuple):
    """A folder of a bucket. It exists while files are in it."""

    bucket_id: UUID
    path: str

    @property
    def id(self) -> UUID:
        """The second part of a cursor; the first one is the path, which is unique in the bucket."""
        return self.bucket_id

    @property
    def name(self) -> str:
        return file_name(self.path)


class NewBsp(NamedTuple):
    account: str
    capacity: int
    multiaddresses: list[str]


class NewFile(NamedTuple):
    bucket_id: UUID
    location: str
    size: int
    content_type: str | None = None
    desired_replicas: int = 0


class ExpectedUpload(NamedTuple):
    """The bytes that a file waits for: its first ones, or those of a replacement."""

    file: FileRow
    replacement_id: UUID | None = None

    @property
    def id(self) -> UUID:
        return self.file.id if self.replacement_id is None else self.replacement_id

    @property
    def is_complete(self) -> bool:
        """Whether the bytes are stored. Then the rest describes what is stored."""
        if self.replacement_id is None:
            return self.file.status == FileStatus.STORED
        same = self.file.replacement_id == self.replacement_id
        return same and self.file.replacement_size is None

    @property
    def size(self) -> int:
        if self.replacement_id is None or self.is_complete:
            return self.file.size
        return self.file.replacement_size or 0

    @property
    def content_type(self) -> str:
        replaced_by = self.file.replacement_content_type
        return self.file.content_type if replaced_by is None else replaced_by


class ChunkRow(NamedTuple):
    """Received bytes of an upload that is not complete."""

    file_id: UUID
    upload_id: UUID
    position: int
    size: int
    object_id: UUID

    @property
    def end(self) -> int:
        return self.position + self.size


class Upload(NamedTuple):
    """Bytes in the object store whose file has no row yet."""

    file_id: UUID
    object_id: UUID
    size: int
    fingerprint: bytes


class Quota(NamedTuple):
    """The bytes and files that one user may store. None means no limit."""

    bytes: int | None = None
    files: int | None = None


def file_key(file: FileRow, fingerprint: bytes) -> bytes:
    """SHA-256 of owner, bucket, location, size and fingerprint.

    IDs take 16 bytes, the fingerprint 32, numbers 8 (big-endian). The length of the location
    precedes it, so that the input is unambiguous.
    """
    assert file.bucket_id is not None  # noqa: S101 - a file that accepts bytes is in a bucket
    location = file.location.encode()
    return hashlib.sha256(
        file.owner_id.bytes
        + file.bucket_id.bytes
        + len(location).to_bytes(8, "big")
        + location
        + file.size.to_bytes(8, "big")
        + fingerprint
    ).digest()


def file_name(location: str) -> str:
    """The last part of a location."""
    return location.rpartition("/")[2]


def has_new_name(file: FileRow) -> bool:
    """Whether the file has another name than the object store serves with its object."""
    stored_with = file.object_location
    return stored_with is not None and file_name(stored_with) != file_name(file.location)


def object_key(file_id: UUID, object_id: UUID) -> str:
    """The key of an upload in the object store. It consists of IDs, never of user input."""
    return f"{objects_of(file_id)}/{object_id.hex}"


def chunk_key(file_id: UUID, object_id: UUID) -> str:
    """The key of a received chunk of an upload."""
    return f"{objects_of(file_id)}/chunks/{object_id.hex}"


def objects_of(file_id: UUID) -> str:
    """The prefix of the keys of all uploads of a file."""
    return f"files/{file_id.hex}"
