"""Cleans up overdue uploads, unfinished deletions and objects that no row refers to."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol
from uuid import UUID

from db.concurrency.postponed_errors import postpone_errors
from db.errors import HowdahError, NotFound
from db.kit.base import TimestampText, to_timestamp_text
from db.kit.sweeps import remove_each
from db.objects.store import ObjectStore
from db.storage.operations import FileOperations
from db.storage.rows import REPLACED_KEPT, UPLOAD_WITHIN, FileRow, FileStatus
from db.storage.uploads import remove_bytes

BATCH = 100


class StorageServices(Protocol):
    """The services that a sweep uses."""

    @property
    def storage(self) -> FileOperations: ...

    @property
    def objects(self) -> ObjectStore: ...


class SweepResult(NamedTuple):
    """The number of cleaned up items of each kind."""

    uploads: int
    deletions: int
    objects: int
    staged: int


async def sweep(
    services: StorageServices,
    *,
    uploads_after: timedelta = UPLOAD_WITHIN,
    objects_after: timedelta = UPLOAD_WITHIN,
    owns_objects: bool = True,
) -> SweepResult:
    """Cleans up everything. Can run at any time, also on several replicas at once.

    Without `owns_objects` the objects stay: those of another installation may be among them.

    An object is removed if its file has no row, or if the row refers to another object. Younger
    objects are kept, because `add_bytes` and restores write the bytes before the row. Replaced
    bytes are kept for REPLACED_KEPT.

    Raises:
        HowdahError: some bytes could not be removed. All others were.
    """
    storage, objects = services.storage, services.objects
    cancelled = await storage.cancel_stale_replacements(older_than=uploads_after)
    await storage.remove_stale_chunks()
    uploads = cancelled + await _delete_stale_uploads(storage, uploads_after)
    staged = await objects.prune(older_than=objects_after)
    if not owns_objects:
        return SweepResult(uploads, 0, 0, staged)
    deletions = removed = 0
    with postpone_errors(HowdahError) as step:
        with step():
            deletions = await _finish_deletions(storage, objects)
        with step():
            removed = await _remove_unused_objects(storage, objects, objects_after)
    return SweepResult(uploads, deletions, removed, staged)


async def _delete_stale_uploads(storage: FileOperations, after: timedelta) -> int:
    deleted = 0
    while stale := await storage.stale_uploads(older_than=after, limit=BATCH):
        for file in stale:
            try:
                await storage.begin_deletion(file.owner_id, file.id)
            except NotFound:
                continue  # another replica deleted it first
            deleted += 1
    return deleted


async def _finish_deletions(storage: FileOperations, objects: ObjectStore) -> int:
    finished = 0
    while ids := await storage.deleting_files(limit=BATCH):
        removed = await _remove_bytes_of_each(objects, ids)
        if not removed:
            break
        await storage.end_deletion(removed)
        finished += len(removed)
    return finished


async def _remove_bytes_of_each(objects: ObjectStore, ids: Sequence[UUID]) -> list[UUID]:
    """Returns the files without the ones that still have bytes."""
    removed: list[UUID] = []

    async def remove(file_id: UUID) -> None:
        await remove_bytes(objects, file_id)
        removed.append(file_id)

    await remove_each({f"file {one.hex}": partial(remove, one) for one in ids})
    return removed


async def _remove_unused_objects(
    storage: FileOperations, objects: ObjectStore, after: timedelta
) -> int:
    removed, now = 0, datetime.now(UTC)
    replaced_before = to_timestamp_text(now - min(after, REPLACED_KEPT))
    with postpone_errors(HowdahError) as step:
        async for batch in objects.list("files"):
            old = [stored.key for stored in batch if stored.modified_at <= now - after]
            unused = await _unused_chunks(storage, old)
            uploads = {key: upload for key in old if (upload := _parse_key(key)) is not None}
            known = await storage.known_files([file_id for file_id, _ in uploads.values()])
            files = {file.id: file for file in known}
            unused += [
                key for key, upload in uploads.items() if _is_unused(upload, files, replaced_before)
            ]
            with step():
                await objects.delete(unused)
                removed += len(unused)
    return removed


async def _unused_chunks(storage: FileOperations, keys: Sequence[str]) -> list[str]:
    """The objects of received chunks that no row refers to."""
    chunks = {key: object_id for key in keys if (object_id := _parse_chunk_key(key)) is not None}
    if not chunks:
        return []
    known = await storage.known_chunks(list(chunks.values()))
    return [key for key, object_id in chunks.items() if object_id not in known]


def _parse_chunk_key(key: str) -> UUID | None:
    match key.split("/"):
        case ["files", _, "chunks", object_id]:
            with contextlib.suppress(ValueError):
                return UUID(hex=object_id)
    return None


def _parse_key(key: str) -> tuple[UUID, UUID] | None:
    """Returns the file and the upload of a key, or None if it is not one of ours."""
    match key.split("/"):
        case ["files", file_id, object_id]:
            try:
                return UUID(hex=file_id), UUID(hex=object_id)
            except ValueError:
                return None
        case _:
            return None


def _is_unused(
    upload: tuple[UUID, UUID], files: Mapping[UUID, FileRow], replaced_before: TimestampText
) -> bool:
    file_id, object_id = upload
    file = files.get(file_id)
    if file is None:
        return True
    if file.status != FileStatus.STORED or file.object_id == object_id:
        return False
    was_replaced = file.previous_object_id == object_id
    return not was_replaced or file.replaced_at is None or file.replaced_at <= replaced_before
