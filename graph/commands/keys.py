"""`howdah keys rotate`."""

import asyncio

import click

from db.connections import rotate
from db.security.keys import add_credential_key, load_keys
from db.services import open_own_database, open_vault
from db.settings import Settings


def rotate_keys(settings: Settings) -> None:
    added = add_credential_key(settings)
    count = asyncio.run(_rotate(settings))
    click.echo(f"{count} secrets were sealed with the current credential key.")
    if added:
        click.echo("A new key was added in the data folder. Restart a running server.")
    else:
        click.echo("When every replica uses it, remove the older keys from HOWDAH_CREDENTIAL_KEY.")


async def _rotate(settings: Settings) -> int:
    vault = open_vault(settings, load_keys(settings))
    async with open_own_database(settings) as own:
        return await rotate(own.database, vault)
