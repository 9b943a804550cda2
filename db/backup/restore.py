"""Restores a backup into an unused database: completely and verified, or not at all."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from db.backup.archive import Manifest, Reader, TableManifest, damaged_error, read_archive
from db.backup.first_writes import put_back, require_events_stay, require_unused, set_aside
from db.backup.indexes import drop_indexes, make_indexes
from db.backup.objects import copy_objects_in, count_named
from db.backup.signature import BackupKeys
from db.backup.tables import (
    Table,
    apply_copy_settings,
    copy_in,
    copy_out,
    open_for_copy,
    quoted,
    revision_of,
    tables_of,
)
from db.errors import BadInput, Conflict
from db.installation import end_copied_work
from db.kit.live_processes import SILENT_AFTER
from db.objects.store import ObjectStore
from db.postgres.schema import migrations
from db.postgres.statements import Changes, Statement

log = logging.getLogger(__name__)

_SERVING_HOSTS = """
SELECT DISTINCT host FROM replica_processes
WHERE fenced_at IS NULL AND seen_at >= clock_timestamp() - $1::interval ORDER BY host
"""


async def restore(
    direct_url: str,
    path: Path,
    *,
    objects: ObjectStore,
    keys: BackupKeys,
    keep: timedelta,
    accept_unverified: bool = False,
) -> Manifest:
    """Load the rows into tables of the backup's revision, then migrate to the current one.

    What was active in the backup is ended: the database is another installation, of which a server
    may have recorded the ID already. Its runs and scripts expire after `keep`.

    Objects are written before the commit. If the store fails, the written ones have no rows: the
    next attempt writes them again, and a sweep removes them.
    """
    with read_archive(path, keys) as archive:
        if archive.unverified:
            if not accept_unverified:
                raise archive.unverified
            log.warning("%s The restore continues, as requested.", archive.unverified.message)
        revision = archive.manifest.revision
        if revision not in migrations.revisions():
            raise BadInput(
                f"{path} was written by Howdah {archive.manifest.howdah}, which is newer.",
                hint="Update Howdah, then restore.",
            )
        archive.check()
        async with open_for_copy(direct_url, "howdah restore") as connection:
            await _require_known(connection)
            await require_unused(connection, await tables_of(connection))
            await _migrate_to(revision, connection, direct_url)
            async with connection.transaction():
                await apply_copy_settings(connection)
                await _load(connection, archive, path)
                if await count_named(connection) != archive.manifest.objects.named:
                    raise damaged_error(path)
                await copy_objects_in(
                    objects, archive.objects, list_sha256=archive.manifest.objects.sha256
                )
                await _end_copied_work(connection, keep)  # after the checksums are verified
    await migrations.upgrade(direct_url)
    return archive.manifest


async def _require_known(connection: asyncpg.Connection) -> None:
    present = await revision_of(connection)
    if migrations.is_newer(present):
        raise Conflict(
            f"The database was migrated to {present} by a newer Howdah.",
            hint="Restore with the newer Howdah, or into a new database.",
        )


async def _migrate_to(revision: str, connection: asyncpg.Connection, direct_url: str) -> None:
    """Upgrade or downgrade. No table has rows of users."""
    order = migrations.revisions()
    present = await revision_of(connection)
    if present in order and order.index(present) > order.index(revision):
        await _require_stopped(connection)
        await require_events_stay(connection, str(present), revision)
        await migrations.downgrade(direct_url, revision)
    else:
        await migrations.upgrade(direct_url, revision)


async def _require_stopped(connection: asyncpg.Connection) -> None:
    """Raises Conflict if servers run: a downgrade drops tables and columns that they use."""
    if not await connection.fetchval("SELECT to_regclass('replica_processes') IS NOT NULL"):
        return
    hosts = [row["host"] for row in await connection.fetch(_SERVING_HOSTS, SILENT_AFTER)]
    if hosts:
        raise Conflict(
            "The backup is of an earlier release, and the database is served by "
            f"{', '.join(hosts)}.",
            hint="Stop all servers, then restore: their tables are downgraded meanwhile. One that "
            f"was killed counts for {SILENT_AFTER.total_seconds():.0f} s.",
        )


async def _load(connection: asyncpg.Connection, archive: Reader, path: Path) -> None:
    if await revision_of(connection) != archive.manifest.revision:
        raise Conflict(
            "A server that was started meanwhile has migrated the database.",
            hint="Stop all servers, then restore again.",
        )
    manifests = {table.name: table for table in archive.manifest.tables}
    tables = await tables_of(connection)
    if {table.name for table in tables} != manifests.keys():
        raise damaged_error(path)
    for table in tables:
        # The triggers ran before the backup. The statement also locks out other writers.
        await connection.execute(f"ALTER TABLE {quoted(table.name)} DISABLE TRIGGER USER")
    await require_unused(connection, tables)
    await set_aside(connection, tables)
    dropped = await drop_indexes(connection, tables)
    for table in tables:
        await _load_table(connection, archive, table, manifests[table.name], path)
    await put_back(connection, tables)
    try:
        await make_indexes(connection, dropped)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise damaged_error(path) from error
    for table in tables:
        await connection.execute(f"ALTER TABLE {quoted(table.name)} ENABLE TRIGGER USER")


async def _load_table(
    connection: asyncpg.Connection,
    archive: Reader,
    table: Table,
    expected: TableManifest,
    path: Path,
) -> None:
    if set(table.columns) != set(expected.columns):
        raise damaged_error(path)
    table = table._replace(columns=expected.columns)
    try:
        with archive.rows(table.name) as member:
            await copy_in(connection, table, member)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise damaged_error(path) from error
    if await copy_out(connection, table, lambda _: None) != expected:
        raise damaged_error(path)


async def _end_copied_work(connection: asyncpg.Connection, keep: timedelta) -> None:
    """Skips tables that the revision lacks."""

    async def execute(
        table: str, statement: Statement[Changes], values: dict[str, Any]
    ) -> Sequence[Any]:
        if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
            return ()
        found: Sequence[Any] = await connection.fetch(statement.sql, *statement.arguments(values))
        return found

    await end_copied_work(execute, keep=keep)
