"""The rows and values of storage, shared by PostgreSQL and the in-memory twin."""

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from db.kit.base import OwnerId, TimestampText
from db.kit.paging import SortOrder

UPLOAD_WITHIN = timedelta(hours=24)
"""How long an upload may take before the file is deleted, or the replacement cancelled."""

REPLACED_KEPT = timedelta(hours=1)
"""How long replaced bytes are kept for downloads that have begun, and for links to the store."""

NEWEST = SortOrder("created_at", descending=True)
BY_LOCATION = SortOrder("location", descending=False)


NO_REPLACEMENT: dict[str, Any] = {
    "replacement_size": None,
    "replacement_content_type": None,
    "replacement_created_at": None,
}
"""The columns of a file of which no replacement is pending."""


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
    def size(self) -> int:
        if self.replacement_id is None:
            return self.file.size
        return self.file.replacement_size or 0

    @property
    def content_type(self) -> str:
        replaced_by = self.file.replacement_content_type
        return self.file.content_type if replaced_by is None else replaced_by


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


def objects_of(file_id: UUID) -> str:
    """The prefix of the keys of all uploads of a file."""
    return f"files/{file_id.hex}"
