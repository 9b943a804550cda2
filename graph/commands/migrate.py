"""`howdah migrate`."""

import asyncio

import click

from db.errors import BadInput, Unavailable
from db.postgres import migrations
from db.services import migrate, open_own_database
from db.settings import Settings


def run_migrations(settings: Settings, *, down: str | None, check: bool) -> None:
    if down and check:
        raise BadInput("--down and --check are two wishes.", hint="Give one of them.")
    if down and down not in (known := ("base", *migrations.revisions())):
        raise BadInput(f"There is no revision {down}.", hint=f"There are {', '.join(known)}.")
    click.echo(asyncio.run(_run(settings, down=down, check=check)))


async def _run(settings: Settings, *, down: str | None, check: bool) -> str:
    async with open_own_database(settings) as own:
        async with own.database.read() as session:
            present = await migrations.present(session)
        if migrations.is_newer(present):
            return _beside_a_newer(present, down=down)
        if check:
            return _check(present)
        if down:
            await migrations.downgrade(own.direct_url, down)
            return f"The database went back to {down}."
        changed = await migrate(own)
    return f"The database {'is now' if changed else 'was already'} at {migrations.head()}."


def _beside_a_newer(present: str | None, *, down: str | None) -> str:
    words = f"The database is at {present}, from a newer Howdah; this one knows {migrations.head()}"
    if down:
        raise BadInput(f"{words}.", hint="Go back with the newer one: it has the way down.")
    return f"{words}. Nothing is to do."


def _check(present: str | None) -> str:
    if present == migrations.head():
        return f"The database is at {present}; nothing is to do."
    raise Unavailable(
        f"The database is not at {migrations.head()}.",
        hint="`howdah migrate` brings it there; `howdah serve` does so by itself.",
    )
