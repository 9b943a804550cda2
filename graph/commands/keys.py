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
    click.echo(f"{count} secrets were sealed anew under the current key.")
    if added:
        click.echo("A new key was made in the data folder. Restart a server that is running.")
    else:
        click.echo("When every replica has it, take the older keys out of HOWDAH_CREDENTIAL_KEY.")


async def _rotate(settings: Settings) -> int:
    vault = open_vault(settings, load_keys(settings))
    async with open_own_database(settings) as own:
        return await rotate(own.database, vault)
