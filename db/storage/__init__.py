"""Storage: providers, buckets and files, and the protocol that both its twins keep."""

from db.storage.operations import StorageOperations
from db.storage.postgres import PostgresStorage
from db.storage.rows import (
    DELETING,
    PENDING,
    STORED,
    UPLOAD_WITHIN,
    BspRow,
    BucketRow,
    FileRow,
    NewBsp,
    NewFile,
    Quota,
    file_key,
    object_key,
    objects_of,
)
from db.storage.tables import Bsp, Bucket, File, Replica

__all__ = [
    "DELETING",
    "PENDING",
    "STORED",
    "UPLOAD_WITHIN",
    "Bsp",
    "BspRow",
    "Bucket",
    "BucketRow",
    "File",
    "FileRow",
    "NewBsp",
    "NewFile",
    "PostgresStorage",
    "Quota",
    "Replica",
    "StorageOperations",
    "file_key",
    "object_key",
    "objects_of",
]
