"""`howdah installation`: which installation the database belongs to."""

import asyncio

import click

from db.installation import Installation, is_at_home, read_installation, renew
from db.own_database import migrate, open_own_database
from db.postgres.embedded import use_running_server
from db.settings import Settings
from db.workbench.setting_limits import run_limits
from graph.commands.operator import act_as_operator

_COPY = "This database is a copy. The next start makes it an installation of its own."


def show_installation(settings: Settings) -> None:
    found, at_home = asyncio.run(_show(settings))
    if found is None:
        click.echo("No server has used this database yet.")
    else:
        click.echo(_described(found) if at_home else f"{_described(found)}\n{_COPY}")


def renew_installation(settings: Settings) -> None:
    act_as_operator()
    click.echo(_described(asyncio.run(_renew(settings))))
    click.echo("Runs, scripts and sessions that were active here are INTERRUPTED or closed.")


async def _show(settings: Settings) -> tuple[Installation | None, bool]:
    async with open_own_database(use_running_server(settings)) as own:
        found = await read_installation(own.database)
        return found, found is not None and await is_at_home(own.database, found)


async def _renew(settings: Settings) -> Installation:
    async with open_own_database(settings) as own:
        await migrate(own)
        return await renew(own.database, keep=run_limits(settings).retention)


def _described(found: Installation) -> str:
    origin = f", a copy of {found.copied_from}" if found.copied_from else ""
    return f"Installation {found.id}, made at {found.made_at:%Y-%m-%d %H:%M:%S} UTC{origin}."
