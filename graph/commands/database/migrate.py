"""`howdah migrate`."""

import asyncio

import click

from db.errors import BadInput, Unavailable
from db.own_database import OwnDatabase, migrate, open_own_database
from db.postgres.schema import migrations
from db.postgres.schema.downgrades import find_losses
from db.settings import Settings


def run_migrations(settings: Settings, *, down: str | None, check: bool, yes: bool) -> None:
    if yes and not down:
        raise BadInput("--yes needs --down.", hint="Omit --yes: an upgrade deletes nothing.")
    if down and check:
        raise BadInput("--down and --check cannot be combined.", hint="Pass one of them.")
    if down and down not in (known := ("base", *migrations.revisions())):
        raise BadInput(f"Revision {down} does not exist.", hint=f"Pass one of {', '.join(known)}.")
    click.echo(asyncio.run(_run(settings, down=down, check=check, yes=yes)))


async def _run(settings: Settings, *, down: str | None, check: bool, yes: bool) -> str:
    async with open_own_database(settings) as own:
        async with own.database.read() as session:
            present = await migrations.present(session)
        if migrations.is_newer(present):
            return _report_newer(present, down=down)
        if check:
            return _check(present)
        if down:
            return await _downgrade(own, present, down, yes=yes)
        changed = await migrate(own)
    return f"The database {'is now' if changed else 'was already'} at {migrations.head()}."


async def _downgrade(own: OwnDatabase, present: str | None, down: str, *, yes: bool) -> str:
    """Prints what the downgrade deletes, and makes it only with `yes`."""
    if present is None:
        return "The database has no tables of Howdah."
    async with own.database.read() as session:
        losses = await find_losses(session, present, down)
    click.echo(
        f"A downgrade from {present} to {down} deletes:" if losses else "No data is deleted."
    )
    for loss in losses:
        click.echo(str(loss))
    if not yes:
        raise BadInput(
            f"A downgrade to {down} has to be confirmed. Nothing was changed.",
            hint="Stop the servers, write a backup with `howdah backup`, and repeat it with --yes.",
        )
    await migrations.downgrade(own.direct_url, down)
    return f"The database was downgraded to {down}."


def _report_newer(present: str | None, *, down: str | None) -> str:
    message = (
        f"A newer Howdah migrated the database to {present}; this one ends at {migrations.head()}."
    )
    if down:
        raise BadInput(message, hint="Downgrade with the newer Howdah, which has that migration.")
    return f"{message} No migration is pending."


def _check(present: str | None) -> str:
    if present == migrations.head():
        return f"The database is at {present}. No migration is pending."
    raise Unavailable(
        f"The database is not at {migrations.head()}.",
        hint="Run `howdah migrate`; `howdah serve` also does so when it starts.",
    )
