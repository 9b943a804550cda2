"""A backup into an empty database: all of it, compared with the manifest, or nothing."""

from pathlib import Path

import asyncpg

from db.backup.archive import Manifest, Reader, TableManifest, damaged, reading
from db.backup.objects import copy_objects_in, count_named
from db.backup.tables import (
    Table,
    apply_copy_settings,
    copy_in,
    copy_out,
    open_connection,
    quoted,
    revision_of,
    tables_of,
)
from db.errors import BadInput, Conflict
from db.objects.store import ObjectStore
from db.postgres import migrations


async def restore(direct_url: str, path: Path, *, objects: ObjectStore) -> Manifest:
    """Loads the rows into the tables of their own revision, then migrates to ours.

    The objects come before the commit. Should the store fail, those that it has are nobody's: the
    next attempt writes them again, and a sweep would remove them.
    """
    with reading(path) as archive:
        revision = archive.manifest.revision
        if revision not in migrations.revisions():
            raise BadInput(
                f"{path} was made by Howdah {archive.manifest.howdah}, which is newer than this.",
                hint="Update Howdah, then restore.",
            )
        archive.objects.check(archive.manifest.objects)
        async with open_connection(direct_url, "howdah restore") as connection:
            await _refuse_unless_empty(connection, await tables_of(connection))
            await _migrate_to(revision, connection, direct_url)
            async with connection.transaction():
                await apply_copy_settings(connection)
                await _load(connection, archive, path)
                if await count_named(connection) != archive.manifest.objects.named:
                    raise damaged(path)
                await copy_objects_in(objects, archive.objects)
    await migrations.upgrade(direct_url)
    return archive.manifest


async def _migrate_to(revision: str, connection: asyncpg.Connection, direct_url: str) -> None:
    """Up or down: the tables are empty."""
    order = migrations.revisions()
    present = await revision_of(connection)
    if migrations.is_newer(present):
        raise Conflict(
            f"The database was migrated to {present} by a newer Howdah.",
            hint="Restore with the newer one, or into a new database.",
        )
    if present in order and order.index(present) > order.index(revision):
        await migrations.downgrade(direct_url, revision)
    else:
        await migrations.upgrade(direct_url, revision)


async def _load(connection: asyncpg.Connection, archive: Reader, path: Path) -> None:
    tables = await tables_of(connection)
    if {table.name for table in tables} != {table.name for table in archive.manifest.tables}:
        raise damaged(path)
    for table in tables:
        # What triggers would do was done before the backup. This also keeps other writers out.
        await connection.execute(f"ALTER TABLE {quoted(table.name)} DISABLE TRIGGER USER")
    await _refuse_unless_empty(connection, tables)
    said = {table.name: table for table in archive.manifest.tables}
    for table in tables:
        await _load_table(connection, archive, table, said[table.name], path)
    for table in tables:
        await connection.execute(f"ALTER TABLE {quoted(table.name)} ENABLE TRIGGER USER")


async def _load_table(
    connection: asyncpg.Connection, archive: Reader, table: Table, said: TableManifest, path: Path
) -> None:
    if set(table.columns) != set(said.columns):
        raise damaged(path)
    table = table._replace(columns=said.columns)
    try:
        with archive.rows(table.name) as member:
            await copy_in(connection, table, member)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise damaged(path) from error
    if await copy_out(connection, table, lambda _: None) != said:
        raise damaged(path)


async def _refuse_unless_empty(connection: asyncpg.Connection, tables: list[Table]) -> None:
    for table in tables:
        filled = f"SELECT EXISTS (SELECT FROM {quoted(table.name)})"  # noqa: S608 - a name of the catalog
        if await connection.fetchval(filled):
            raise Conflict(
                f"The database is not empty: there are {table.name} in it.",
                hint="Restore into a new data folder (--data-dir) or an empty database; "
                "nothing is ever overwritten.",
            )
