"""Copies the objects that the rows name between the object store and the archive.

Results of runs in the object store are not copied: they expire, and the statement can be run again.
Small results are in the rows of their runs, which are copied.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID
from zipfile import BadZipFile

import asyncpg

from db.backup.bundle import LIST, ObjectEntry, ObjectsReader, ObjectsWriter, pieces
from db.backup.unscoped import COUNT_STORED, STILL_STORED, STORED
from db.errors import NotFound, Unavailable
from db.objects.store import ObjectStore
from db.storage import object_headers, object_key

_HAS_FILES = "SELECT to_regclass('files') IS NOT NULL"


async def copy_objects_out(
    connection: asyncpg.Connection, objects: ObjectStore, archive: ObjectsWriter
) -> list[UUID]:
    """Copy the objects that the rows of this transaction name. Returns the missing ones."""
    missing: list[UUID] = []
    if not await connection.fetchval(_HAS_FILES):  # an older revision
        return missing
    async for file in connection.cursor(STORED, prefetch=1_000):
        entry = ObjectEntry(
            key=object_key(file["id"], file["object_id"]),
            size=file["size"],
            sha256=file["fingerprint"].hex(),
            start=archive.position,
            headers=object_headers(file["content_type"], file["location"]),
        )
        if await _read_matches(objects, entry, archive):
            archive.list(entry)
        else:
            missing.append(file["object_id"])
    return missing


async def find_lost(connection: asyncpg.Connection, missing: Sequence[UUID]) -> list[str]:
    """Keys of missing objects whose rows still exist after the transaction of the backup."""
    if not missing:
        return []
    return [object_key(*file) for file in await connection.fetch(STILL_STORED, missing)]


async def count_named(connection: asyncpg.Connection) -> int:
    if not await connection.fetchval(_HAS_FILES):
        return 0
    return int(await connection.fetchval(COUNT_STORED))


async def copy_objects_in(
    objects: ObjectStore, archive: ObjectsReader, *, list_sha256: str
) -> None:
    """Write all objects, replacing existing ones, and read each back to verify it.

    Raises:
        BadZipFile: The list is not the one that was checked: the file was changed meanwhile.
    """
    list_checksum = hashlib.sha256()
    with archive.open() as member:
        for entry in archive.entries():
            list_checksum.update(entry.line)
            chunks = _to_async(pieces(member, entry))
            await objects.put(entry.key, chunks, size=entry.size, headers=entry.headers)
            if not await _read_matches(objects, entry):
                raise Unavailable(
                    f"The object store returned other bytes for {entry.key} than were written.",
                    hint="No row was changed. Check the object store, then restore again.",
                )
    if list_checksum.hexdigest() != list_sha256:
        raise BadZipFile(LIST)


async def _read_matches(
    objects: ObjectStore, entry: ObjectEntry, archive: ObjectsWriter | None = None
) -> bool:
    """Read an object, write its bytes to the archive, and return whether they match `entry`."""
    checksum = hashlib.sha256()
    try:
        async for piece in objects.read(entry.key, start=0, end=entry.size):
            checksum.update(piece)
            if archive is not None:
                archive.write(piece)
    except NotFound:
        return False
    except Unavailable:
        await objects.ping()  # if the store responds, the object itself is unreadable
        return False
    return checksum.hexdigest() == entry.sha256


async def _to_async(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
