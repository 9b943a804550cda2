"""`howdah backup` and `howdah restore`."""

import asyncio
from pathlib import Path

import click

from db.backup import Manifest, backup
from db.backup import restore as restore_archive
from db.objects.store import ObjectStore, open_objects
from db.postgres.embedded import use_running_server
from db.services import open_own_database
from db.settings import Settings


def write_backup(settings: Settings, file: Path) -> bool:
    """Return whether the object store had the bytes of every file."""
    made = asyncio.run(_write(settings, file))
    _print_manifest(made)
    click.echo(
        f"{file} contains {made.rows:,} rows and {made.objects.count:,} files "
        f"({file.stat().st_size:,} bytes), with users' data and the hashes of their passwords: "
        "protect it like the database.\n"
        "It does not contain the secret key and the credential key; store them separately. Results "
        "of query runs are not included, because they expire."
    )
    return not made.objects.lost


def restore_backup(settings: Settings, file: Path) -> None:
    made = asyncio.run(_restore(settings, file))
    _print_manifest(made)
    click.echo(
        f"Restored {made.rows:,} rows and {made.objects.count:,} files as of "
        f"{made.created_at:%Y-%m-%d %H:%M:%S} UTC.\n"
        "All tables and files were read back: counts and checksums match the backup."
    )


async def _write(settings: Settings, file: Path) -> Manifest:
    async with open_own_database(use_running_server(settings)) as own:
        return await backup(own.direct_url, file, objects=_objects(settings))


async def _restore(settings: Settings, file: Path) -> Manifest:
    async with open_own_database(use_running_server(settings)) as own:
        return await restore_archive(own.direct_url, file, objects=_objects(settings))


def _objects(settings: Settings) -> ObjectStore:
    return open_objects(settings.objects_url, data_dir=settings.data_dir)


def _print_manifest(made: Manifest) -> None:
    for table in made.tables:
        click.echo(f"  {table.name:20}{table.rows:>12,} rows   sha256 {table.sha256[:16]}")
    objects = made.objects
    click.echo(
        f"  {'objects':20}{objects.count:>12,} files  sha256 {objects.sha256[:16]}   "
        f"{objects.bytes:,} bytes"
    )
    if objects.deleted:
        click.echo(f"  {objects.deleted:,} files were deleted meanwhile and are not included.")
    if objects.lost:
        click.echo(
            f"  {objects.lost:,} files are missing or changed in the object store and are not "
            "included. The log names them."
        )
