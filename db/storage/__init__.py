"""Storage: providers, buckets, files and their bytes."""

from db.storage.chunked_uploads import (
    Checksum,
    ChecksumMismatch,
    append_bytes,
    begin_replacement,
    complete_upload,
    received_bytes,
    terminate_upload,
    too_many_bytes,
    wrong_offset,
)
from db.storage.errors import file_deleted, replacement_not_pending
from db.storage.operations import FileOperations, StorageOperations
from db.storage.postgres import PostgresStorage
from db.storage.repositories.bsps import Bsps
from db.storage.repositories.buckets import Buckets
from db.storage.repositories.files import Files
from db.storage.repositories.folders import Folders
from db.storage.repositories.replicas import Replicas
from db.storage.repositories.unscoped import PublicBuckets, kept_file_bytes
from db.storage.rows import (
    UPLOAD_WITHIN,
    BspRow,
    BucketRow,
    ChunkRow,
    ExpectedUpload,
    FileRow,
    FileStatus,
    FolderRow,
    NewBsp,
    NewFile,
    Quota,
    Upload,
    file_key,
    has_new_name,
    object_key,
    objects_of,
)
from db.storage.sweep import StorageServices, SweepResult, sweep
from db.storage.tables import Bsp, Bucket, File, FileChunk, Replica
from db.storage.uploads import (
    add_bytes,
    delete_file,
    disposition,
    object_headers,
    read_bytes,
    remove_bytes_if_possible,
    store_bytes,
)

__all__ = [
    "UPLOAD_WITHIN",
    "Bsp",
    "BspRow",
    "Bsps",
    "Bucket",
    "BucketRow",
    "Buckets",
    "Checksum",
    "ChecksumMismatch",
    "ChunkRow",
    "ExpectedUpload",
    "File",
    "FileChunk",
    "FileOperations",
    "FileRow",
    "FileStatus",
    "Files",
    "FolderRow",
    "Folders",
    "NewBsp",
    "NewFile",
    "PostgresStorage",
    "PublicBuckets",
    "Quota",
    "Replica",
    "Replicas",
    "StorageOperations",
    "StorageServices",
    "SweepResult",
    "Upload",
    "add_bytes",
    "append_bytes",
    "begin_replacement",
    "complete_upload",
    "delete_file",
    "disposition",
    "file_deleted",
    "file_key",
    "has_new_name",
    "kept_file_bytes",
    "object_headers",
    "object_key",
    "objects_of",
    "read_bytes",
    "received_bytes",
    "remove_bytes_if_possible",
    "replacement_not_pending",
    "store_bytes",
    "sweep",
    "terminate_upload",
    "too_many_bytes",
    "wrong_offset",
]
