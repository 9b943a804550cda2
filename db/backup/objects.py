"""The bytes of files between the object store and the archive: those that the rows name.

Results of runs stay out: they expire anyway, and their statement can be run again.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID

import asyncpg

from db.backup.bundle import ObjectEntry, ObjectsReader, ObjectsWriter, pieces
from db.backup.unscoped import COUNT_STORED, STILL_STORED, STORED
from db.errors import NotFound, Unavailable
from db.objects.store import ObjectStore
from db.storage import object_headers, object_key

_HAS_FILES = "SELECT to_regclass('files') IS NOT NULL"


async def copy_objects_out(
    connection: asyncpg.Connection, objects: ObjectStore, archive: ObjectsWriter
) -> list[UUID]:
    """Every object that the rows of this transaction name; answers which were not there."""
    missing: list[UUID] = []
    if not await connection.fetchval(_HAS_FILES):  # of an older revision
        return missing
    async for file in connection.cursor(STORED, prefetch=1_000):
        entry = ObjectEntry(
            key=object_key(file["id"], file["object_id"]),
            size=file["size"],
            sha256=file["fingerprint"].hex(),
            start=archive.position,
            headers=object_headers(file["content_type"], file["location"]),
        )
        if await _passes(objects, entry, archive):
            archive.list(entry)
        else:
            missing.append(file["object_id"])
    return missing


async def find_lost(connection: asyncpg.Connection, missing: Sequence[UUID]) -> list[str]:
    """Keys of those that nobody deleted: after the transaction, rows name them still."""
    if not missing:
        return []
    return [object_key(*file) for file in await connection.fetch(STILL_STORED, missing)]


async def count_named(connection: asyncpg.Connection) -> int:
    """How many objects the rows name."""
    if not await connection.fetchval(_HAS_FILES):
        return 0
    return int(await connection.fetchval(COUNT_STORED))


async def copy_objects_in(objects: ObjectStore, archive: ObjectsReader) -> None:
    """Each is read back: its bytes are those of the backup. One that is there is written anew."""
    with archive.opened() as member:
        for entry in archive.entries():
            chunks = _passed_on(pieces(member, entry))
            await objects.put(entry.key, chunks, size=entry.size, headers=entry.headers)
            if not await _passes(objects, entry):
                raise Unavailable(
                    f"The object store did not keep {entry.key} as it was written.",
                    hint="No row was changed. Check the store and its disk, then restore again.",
                )


async def _passes(
    objects: ObjectStore, entry: ObjectEntry, archive: ObjectsWriter | None = None
) -> bool:
    """Whether the store has the bytes of `entry`; on the way they go into the archive."""
    checksum = hashlib.sha256()
    try:
        async for piece in objects.read(entry.key, start=0, end=entry.size):
            checksum.update(piece)
            if archive is not None:
                archive.write(piece)
    except NotFound:
        return False
    except Unavailable:
        await objects.ping()  # it answers: this object is the trouble, cut short or unreadable
        return False
    return checksum.hexdigest() == entry.sha256


async def _passed_on(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
