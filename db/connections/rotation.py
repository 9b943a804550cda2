"""Reseals stored secrets with the current key or keychain, for `howdah keys rotate`."""

from uuid import UUID

from db.connections.repository import Sealed
from db.postgres.engine import Database
from db.security.vault import SecretLocation, Vault


async def rotate(database: Database, vault: Vault) -> int:
    """Returns the number of resealed secrets. Safe to repeat after a failure."""
    count, last = 0, UUID(int=0)
    while True:
        async with database.read() as session:
            batch = await Sealed.batch(session, last)
        if not batch:
            return count
        for _, seals in batch:
            for location, sealed in seals.items():
                if not await vault.is_current(sealed):
                    count += await _reseal(database, vault, sealed, location)
        last = batch[-1][0]


async def _reseal(database: Database, vault: Vault, old: bytes, location: SecretLocation) -> int:
    new = await vault.seal(await vault.open(old, location), location)
    exchanged = await database.write(
        lambda session: Sealed.exchange(session, location.row, location.column, old=old, new=new)
    )
    await vault.forget(old if exchanged else new, location)
    return int(exchanged)
