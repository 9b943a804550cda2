"""`howdah keys rotate`."""

import asyncio

import click

from db.audit import record_if_migrated
from db.connections import SecretRotation, rotate
from db.errors import Unavailable
from db.kit.audit import AuditKind, AuditOutcome
from db.own_database import open_own_database
from db.postgres.embedded import use_running_server
from db.security.keys import add_credential_key, load_keys
from db.services import open_vault
from db.settings import Settings
from graph.commands.operator import act_as_operator


def rotate_keys(settings: Settings) -> None:
    """Seals all stored secrets with the newest key.

    Raises:
        Unavailable: Some secrets could not be opened with the present keys.
    """
    act_as_operator()
    added = add_credential_key(settings)
    rotation = asyncio.run(_rotate(settings))
    click.echo(f"Sealed {rotation.resealed} secrets with the current key.")
    if added:
        click.echo(
            "Wrote a new key to the data folder. Restart the server if it is running: until then "
            "it cannot open the secrets."
        )
    if rotation.unreadable:
        for place in rotation.unreadable:
            click.echo(f"Cannot open {place.column} of connection {place.row}.", err=True)
        raise Unavailable(
            f"{len(rotation.unreadable)} secrets could not be opened and are unchanged.",
            hint="Add the key they were sealed with to HOWDAH_CREDENTIAL_KEY and run this again, "
            "or ask their owners to enter them again.",
        )
    if not added:
        click.echo(
            "Remove the older keys from HOWDAH_CREDENTIAL_KEY when all replicas have the new one."
        )


async def _rotate(settings: Settings) -> SecretRotation:
    keys = load_keys(settings)
    async with open_own_database(use_running_server(settings)) as own:
        vault = open_vault(settings, keys, own.database)
        rotation = await rotate(own.database, vault)
        await record_if_migrated(
            own.database,
            AuditKind.KEYS_ROTATED,
            outcome=AuditOutcome.FAILED if rotation.unreadable else AuditOutcome.SUCCEEDED,
            details={"resealed": rotation.resealed, "unreadable": len(rotation.unreadable)},
        )
        return rotation
