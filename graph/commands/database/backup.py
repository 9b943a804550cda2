"""`howdah backup` and `howdah restore`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from db.audit import record_if_migrated
from db.backup import BackupKeys, Manifest, backup, restore
from db.kit.audit import AuditKind
from db.objects.store import open_objects
from db.own_database import open_own_database
from db.postgres.embedded import use_running_server
from db.security.keys import find_credential_keys, load_credential_keys
from db.settings import Settings
from db.workbench.setting_limits import run_limits
from graph.commands.operator import act_as_operator


def write_backup(settings: Settings, file: Path) -> bool:
    """Return whether the object store had the bytes of every file."""
    keys = BackupKeys(load_credential_keys(settings))
    kind = AuditKind.BACKUP_WRITTEN
    made = asyncio.run(_run(backup, settings, file, kind, keys=keys))
    _print_manifest(made)
    click.echo(
        f"{file} contains {made.rows:,} rows and {made.objects.count:,} files "
        f"({file.stat().st_size:,} bytes), with users' data and the hashes of their passwords: "
        "protect it like the database.\n"
        "It does not contain the secret key and the credential key; store them separately: a "
        "restore verifies the signature of the backup with the credential key.\n"
        "Results of query runs are not included, because they expire."
    )
    return not made.objects.lost


def restore_backup(settings: Settings, file: Path, *, accept_unverified: bool = False) -> None:
    keys = BackupKeys(find_credential_keys(settings))
    made = asyncio.run(
        _run(
            restore,
            settings,
            file,
            AuditKind.BACKUP_RESTORED,
            keys=keys,
            keep=run_limits(settings).retention,
            accept_unverified=accept_unverified,
        )
    )
    _print_manifest(made)
    click.echo(
        f"Restored {made.rows:,} rows and {made.objects.count:,} files as of "
        f"{made.created_at:%Y-%m-%d %H:%M:%S} UTC.\n"
        "All tables and files were read back: counts and checksums match the backup.\n"
        "Runs, scripts and sessions that were active in the backup are INTERRUPTED or closed."
    )


async def _run(
    action: Callable[..., Awaitable[Manifest]],
    settings: Settings,
    file: Path,
    kind: AuditKind,
    **options: Any,
) -> Manifest:
    act_as_operator()
    async with open_own_database(use_running_server(settings)) as own:
        objects = open_objects(settings.objects_url, data_dir=settings.data_dir)
        made = await action(own.direct_url, file, objects=objects, **options)
        await record_if_migrated(
            own.database,
            kind,
            subject_name=file.name,
            details={
                "createdAt": made.created_at.isoformat(),
                "rows": made.rows,
                "files": made.objects.count,
                "acceptUnverified": options.get("accept_unverified"),
            },
        )
        return made


def _print_manifest(made: Manifest) -> None:
    for table in made.tables:
        click.echo(f"  {table.name:20}{table.rows:>12,} rows   sha256 {table.sha256[:16]}")
    objects = made.objects
    click.echo(
        f"  {'objects':20}{objects.count:>12,} files  sha256 {objects.sha256[:16]}   "
        f"{objects.bytes:,} bytes"
    )
    if objects.deleted:
        click.echo(f"  {objects.deleted:,} files were deleted or replaced meanwhile: not included.")
    if objects.lost:
        click.echo(
            f"  {objects.lost:,} files are missing or changed in the object store and are not "
            "included. The log names them."
        )
