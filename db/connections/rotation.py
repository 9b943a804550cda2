"""Seals the secrets of all users with the current key, for `howdah keys rotate`."""

from typing import NamedTuple
from uuid import UUID

from db.connections.unscoped import OpenSeals, SavedSeals, Sealed
from db.errors import Unavailable
from db.postgres.engine import Database
from db.security.vault import SecretLocation, Vault


class SecretRotation(NamedTuple):
    resealed: int
    unreadable: list[SecretLocation]
    """Secrets that no present key opens. They are left as they are."""


async def rotate(database: Database, vault: Vault) -> SecretRotation:
    """Seals every secret with the current key; repeating it continues after a failure."""
    rotation = SecretRotation(0, [])
    for table in (SavedSeals, OpenSeals):
        rotation = await _rotate_table(database, vault, table, rotation)
    return rotation


async def _rotate_table(
    database: Database, vault: Vault, table: type[Sealed], rotation: SecretRotation
) -> SecretRotation:
    last = UUID(int=0)
    while True:
        async with database.read() as session:
            batch = await table.batch(session, last)
        if not batch:
            return rotation
        for _, placed in batch:
            for place, sealed in placed.items():
                if await vault.is_current(sealed, place):
                    continue
                try:
                    secret = await vault.open(sealed, place)
                except Unavailable:
                    rotation.unreadable.append(place)
                    continue
                replaced = await _replace(database, vault, table, sealed, place, secret)
                rotation = rotation._replace(resealed=rotation.resealed + replaced)
        last = batch[-1][0]


async def _replace(
    database: Database,
    vault: Vault,
    table: type[Sealed],
    old: bytes,
    place: SecretLocation,
    secret: str,
) -> bool:
    """Returns false if the user entered another secret in the meantime."""
    new = await vault.seal(secret, place)
    replaced = await database.write(
        lambda session: table.exchange(session, place.row, place.column, old=old, new=new)
    )
    await vault.forget(old if replaced else new, place)
    return replaced
