"""What storage answers with, and what it is asked for: plain values, the same for every twin."""

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.kit.base import OwnerId, TimestampText
from db.kit.paging import SortOrder

UPLOAD_WITHIN = timedelta(hours=24)
"""How long a file waits for its bytes before it is given up."""

NEWEST = SortOrder("created_at", descending=True)
BY_LOCATION = SortOrder("location", descending=False)


class FileStatus(StrEnum):
    """The states of a file, in their only order."""

    PENDING = "PENDING"
    STORED = "STORED"
    DELETING = "DELETING"


class BspRow(NamedTuple):
    """A provider as it was when it was read."""

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
    """A bucket as it was when it was read."""

    id: UUID
    name: str
    private: bool
    file_count: int
    total_size: int
    created_at: TimestampText
    updated_at: TimestampText
    version: int


class FileRow(NamedTuple):
    """A file as it was when it was read. Its owner is told: links speak for nobody else."""

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


class NewBsp(NamedTuple):
    """A provider to register."""

    account: str
    capacity: int
    multiaddresses: list[str]


class NewFile(NamedTuple):
    """A file to make room for."""

    bucket_id: UUID
    location: str
    size: int
    content_type: str | None = None
    desired_replicas: int = 0


class Upload(NamedTuple):
    """Bytes that are in the object store before there is a row of their file."""

    file_id: UUID
    object_id: UUID
    size: int
    fingerprint: bytes


class Quota(NamedTuple):
    """How much one user may keep; None is no limit."""

    bytes: int | None = None
    files: int | None = None


def file_key(file: FileRow, fingerprint: bytes) -> bytes:
    """SHA-256 over owner, bucket, location, size and fingerprint.

    Ids are 16 bytes, the fingerprint 32, both numbers 8 (big-endian); the location, in UTF-8, goes
    after its length. So no two files give the same input.
    """
    assert file.bucket_id is not None  # noqa: S101 - a file without a bucket gets no bytes
    location = file.location.encode()
    return hashlib.sha256(
        file.owner_id.bytes
        + file.bucket_id.bytes
        + len(location).to_bytes(8, "big")
        + location
        + file.size.to_bytes(8, "big")
        + fingerprint
    ).digest()


def object_key(file_id: UUID, object_id: UUID) -> str:
    """Where the bytes of one upload of a file are: ids only, never what somebody typed."""
    return f"{objects_of(file_id)}/{object_id.hex}"


def objects_of(file_id: UUID) -> str:
    return f"files/{file_id.hex}"
