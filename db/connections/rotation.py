"""Seals the stored secrets of all users with the current key, for `howdah keys rotate`."""

from typing import NamedTuple
from uuid import UUID

from db.connections.unscoped import Sealed
from db.errors import Unavailable
from db.postgres.engine import Database
from db.security.vault import SecretLocation, Vault


class SecretRotation(NamedTuple):
    resealed: int
    unreadable: list[SecretLocation]
    """Secrets that no present key opens. They are left as they are."""


async def rotate(database: Database, vault: Vault) -> SecretRotation:
    """Seals every secret with the current key; repeating it continues after a failure."""
    rotation, last = SecretRotation(0, []), UUID(int=0)
    while True:
        async with database.read() as session:
            batch = await Sealed.batch(session, last)
        if not batch:
            return rotation
        for _, placed in batch:
            for place, sealed in placed.items():
                if await vault.is_current(sealed, place.owner):
                    continue
                try:
                    secret = await vault.open(sealed, place)
                except Unavailable:
                    rotation.unreadable.append(place)
                    continue
                replaced = await _replace(database, vault, sealed, place, secret)
                rotation = rotation._replace(resealed=rotation.resealed + replaced)
        last = batch[-1][0]


async def _replace(
    database: Database, vault: Vault, old: bytes, place: SecretLocation, secret: str
) -> bool:
    """Returns false if the user saved another secret in the meantime."""
    new = await vault.seal(secret, place)
    replaced = await database.write(
        lambda session: Sealed.exchange(session, place.row, place.column, old=old, new=new)
    )
    await vault.forget(old if replaced else new, place)
    return replaced
