"""`howdah backup` and `howdah restore`."""

import asyncio
import sys
from pathlib import Path

import click

from db.backup import Manifest, backup
from db.backup import restore as restore_archive
from db.objects.store import ObjectStore, open_objects
from db.postgres.embedded import use_running_server
from db.services import open_own_database
from db.settings import Settings


def write_backup(settings: Settings, file: Path) -> None:
    made = asyncio.run(_write(settings, file))
    _print_manifest(made)
    click.echo(
        f"{file} holds {made.rows:,} rows and {made.objects.count:,} files "
        f"({file.stat().st_size:,} bytes), with people's tasks and the hashes of their passwords: "
        "keep it as safe as the database.\n"
        "The secret key and the credential key are not in it; keep them elsewhere. Nor are the "
        "results of query runs, which expire."
    )
    if made.objects.lost:
        sys.exit(1)


def restore_backup(settings: Settings, file: Path) -> None:
    made = asyncio.run(_restore(settings, file))
    _print_manifest(made)
    click.echo(
        f"Restored {made.rows:,} rows and {made.objects.count:,} files as of "
        f"{made.created_at:%Y-%m-%d %H:%M:%S} UTC.\n"
        "Each table and file was read back: count and checksum are those of the backup."
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
        click.echo(
            f"  {objects.deleted:,} files were deleted meanwhile: their bytes are not in it."
        )
    if objects.lost:
        click.echo(
            f"  {objects.lost:,} files nobody deleted are not in the object store as they were: "
            "their bytes are not in it."
        )
