"""Every row, as of one moment, into one file."""

from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from db.backup.archive import Manifest, writing
from db.backup.tables import connected, copy_out, revision_of, settle, tables_of
from db.errors import Conflict
from db.version import __version__


async def backup(direct_url: str, path: Path) -> Manifest:
    """The server may go on meanwhile: all tables are read as they were at the same moment."""
    async with (
        connected(direct_url, "howdah backup") as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await settle(connection)
        return await _write(connection, path)


async def _write(connection: asyncpg.Connection, path: Path) -> Manifest:
    revision = await revision_of(connection)
    if revision is None:
        raise Conflict(
            "This database holds nothing of Howdah's yet.",
            hint="Check HOWDAH_DATABASE_URL or --data-dir; `howdah migrate` prepares a new one.",
        )
    created_at = datetime.now(UTC)
    tables = await tables_of(connection)
    with writing(path) as archive:
        contents = []
        for table in tables:
            with archive.rows(table.name) as member:
                contents.append(await copy_out(connection, table, member.write))
        manifest = Manifest(
            howdah=__version__, revision=revision, created_at=created_at, tables=contents
        )
        archive.seal(manifest)
    return manifest
