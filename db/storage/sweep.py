"""Repairs what broke off: uploads that never came, deletions half done, objects nobody names."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from db.errors import NotFound
from db.objects.store import ObjectStore
from db.storage.operations import FileOperations
from db.storage.rows import UPLOAD_WITHIN, FileRow, FileStatus
from db.storage.uploads import remove_bytes

BATCH = 100


class StorageServices(Protocol):
    """What a sweep needs of the services."""

    @property
    def storage(self) -> FileOperations: ...

    @property
    def objects(self) -> ObjectStore: ...


class SweepResult(NamedTuple):
    """How many of each."""

    uploads: int
    deletions: int
    objects: int
    staged: int


async def sweep(
    services: StorageServices,
    *,
    uploads_after: timedelta = UPLOAD_WITHIN,
    objects_after: timedelta = UPLOAD_WITHIN,
) -> SweepResult:
    """Repairs all there is. Safe at any time and on several replicas at once.

    An object goes only when no row can come to name it: the row is gone, or names another. Its age
    protects those whose row is still to come: `add_bytes` and restores bring the bytes first.
    """
    storage, objects = services.storage, services.objects
    return SweepResult(
        uploads=await _give_up_uploads(storage, uploads_after),
        deletions=await _end_deletions(storage, objects),
        objects=await _remove_orphans(storage, objects, datetime.now(UTC) - objects_after),
        staged=await objects.prune(older_than=objects_after),
    )


async def _give_up_uploads(storage: FileOperations, after: timedelta) -> int:
    given_up = 0
    while stale := await storage.stale_uploads(older_than=after, limit=BATCH):
        for file in stale:
            try:
                await storage.begin_deletion(file.owner_id, file.id)
            except NotFound:
                continue  # another replica was faster
            given_up += 1
    return given_up


async def _end_deletions(storage: FileOperations, objects: ObjectStore) -> int:
    ended = 0
    while ids := await storage.deleting_files(limit=BATCH):
        await remove_bytes(storage, objects, ids)
        ended += len(ids)
    return ended


async def _remove_orphans(storage: FileOperations, objects: ObjectStore, before: datetime) -> int:
    removed = 0
    async for batch in objects.list("files"):
        old = [one.key for one in batch if one.modified_at <= before]
        uploads = {key: upload for key in old if (upload := _parsed(key)) is not None}
        known = await storage.known_files([file_id for file_id, _ in uploads.values()])
        files = {file.id: file for file in known}
        orphans = [key for key, upload in uploads.items() if _is_orphan(upload, files)]
        await objects.delete(orphans)
        removed += len(orphans)
    return removed


def _parsed(key: str) -> tuple[UUID, UUID] | None:
    """The file and the upload that a key is made of; None when we did not make it."""
    match key.split("/"):
        case ["files", file_id, object_id]:
            try:
                return UUID(hex=file_id), UUID(hex=object_id)
            except ValueError:
                return None
        case _:
            return None


def _is_orphan(upload: tuple[UUID, UUID], files: Mapping[UUID, FileRow]) -> bool:
    file_id, object_id = upload
    file = files.get(file_id)
    return file is None or (file.status == FileStatus.STORED and file.object_id != object_id)
