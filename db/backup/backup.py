"""Writes a snapshot of all rows, and the files that these rows name, to one archive."""

import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from db.backup.archive import Manifest, TableManifest, Writer, write_archive
from db.backup.objects import copy_objects_out, find_lost
from db.backup.signature import BackupKeys
from db.backup.tables import apply_copy_settings, copy_out, open_for_copy, revision_of, tables_of
from db.errors import Conflict
from db.installation import HOLD_FILE_BYTES
from db.objects.store import ObjectStore
from db.version import __version__

log = logging.getLogger(__name__)


async def backup(
    direct_url: str, path: Path, *, objects: ObjectStore, keys: BackupKeys
) -> Manifest:
    """Back up a database that may be in use: all tables are read from one snapshot.

    Servers keep the bytes of files that are deleted or replaced meanwhile. The log names files
    that are lost.
    """
    async with (
        _hold_bytes(direct_url),
        open_for_copy(direct_url, "howdah backup") as connection,
    ):
        with write_archive(path, keys) as archive:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await apply_copy_settings(connection)
                revision = await _revision_of(connection)
                created_at = datetime.now(UTC)
                tables = await _write_rows(connection, archive)
                with archive.objects() as bundle:
                    missing = await copy_objects_out(connection, objects, bundle)
            lost = await find_lost(connection, missing)
            for key in lost:
                log.warning("object %s is missing or changed in the object store", key)
            manifest = Manifest(
                howdah=__version__,
                revision=revision,
                created_at=created_at,
                tables=tables,
                objects=bundle.manifest(deleted=len(missing) - len(lost), lost=len(lost)),
            )
            archive.write_manifest(manifest)
    return manifest


@contextlib.asynccontextmanager
async def _hold_bytes(direct_url: str) -> AsyncIterator[None]:
    """A connection of its own: its lock must be there before the snapshot of the other."""
    async with (
        open_for_copy(direct_url, "howdah backup") as connection,
        connection.transaction(),
    ):
        await apply_copy_settings(connection)
        await connection.execute(HOLD_FILE_BYTES)
        yield


async def _revision_of(connection: asyncpg.Connection) -> str:
    revision = await revision_of(connection)
    if revision is None:
        raise Conflict(
            "This database contains no data of Howdah.",
            hint="Check HOWDAH_DATABASE_URL or --data-dir. Run `howdah migrate` for a new one.",
        )
    return revision


async def _write_rows(connection: asyncpg.Connection, archive: Writer) -> list[TableManifest]:
    manifests = []
    for table in await tables_of(connection):
        with archive.rows(table.name) as member:
            manifests.append(await copy_out(connection, table, member.write))
    return manifests
