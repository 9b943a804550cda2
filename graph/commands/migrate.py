"""`howdah migrate`."""

import asyncio

import click

from db import migrations
from db.errors import BadInput, Unavailable
from db.services import OwnDatabase, migrate, open_own_database
from db.settings import Settings


def bring_up_to_date(settings: Settings, *, down: str | None, check: bool) -> None:
    if down and check:
        raise BadInput("--down and --check are two wishes.", hint="Give one of them.")
    if down and down not in (known := ("base", *migrations.revisions())):
        raise BadInput(f"There is no revision {down}.", hint=f"There are {', '.join(known)}.")
    click.echo(asyncio.run(_run(settings, down=down, check=check)))


async def _run(settings: Settings, *, down: str | None, check: bool) -> str:
    async with open_own_database(settings) as own:
        if check:
            return await _check(own)
        if down:
            await migrations.downgrade(own.direct_url, down)
            return f"The database went back to {down}."
        changed = await migrate(own)
    return f"The database {'is now' if changed else 'was already'} at {migrations.head()}."


async def _check(own: OwnDatabase) -> str:
    async with own.database.read() as session:
        if await migrations.is_current(session):
            return f"The database is at {migrations.head()}; nothing is to do."
    raise Unavailable(
        f"The database is not at {migrations.head()}.",
        hint="`howdah migrate` brings it there; `howdah serve` does so by itself.",
    )
