"""`howdah backup` and `howdah restore`."""

import asyncio
from pathlib import Path

import typer

from db.backup import Manifest, backup, restore
from db.embedded import beside_a_server
from db.services import open_own_database
from db.settings import Settings


def back_up(settings: Settings, file: Path) -> None:
    made = asyncio.run(_back_up(settings, file))
    _tell(made)
    typer.echo(
        f"{file} holds {made.rows:,} rows ({file.stat().st_size:,} bytes), with people's tasks and "
        "the hashes of their passwords: keep it as safe as the database.\n"
        "The secret key and the credential key are not in it; keep them elsewhere."
    )


def bring_back(settings: Settings, file: Path) -> None:
    made = asyncio.run(_bring_back(settings, file))
    _tell(made)
    typer.echo(
        f"Restored {made.rows:,} rows as of {made.created_at:%Y-%m-%d %H:%M:%S} UTC.\n"
        "Each table was read back: its count and checksum are those of the backup."
    )


async def _back_up(settings: Settings, file: Path) -> Manifest:
    async with open_own_database(beside_a_server(settings)) as own:
        return await backup(own.direct_url, file)


async def _bring_back(settings: Settings, file: Path) -> Manifest:
    async with open_own_database(beside_a_server(settings)) as own:
        return await restore(own.direct_url, file)


def _tell(made: Manifest) -> None:
    for table in made.tables:
        typer.echo(f"  {table.name:20}{table.rows:>12,} rows   sha256 {table.sha256[:16]}")
