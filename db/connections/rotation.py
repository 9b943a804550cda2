"""Seals stored secrets anew, by the means there are now: for `howdah keys rotate`."""

from uuid import UUID

from db.connections.unscoped import Sealed
from db.postgres.engine import Database
from db.security.vault import SecretLocation, Vault


async def rotate(database: Database, vault: Vault) -> int:
    """How many were sealed anew. Run again after a failure it goes on where it was."""
    count, last = 0, UUID(int=0)
    while True:
        async with database.read() as session:
            batch = await Sealed.batch(session, last)
        if not batch:
            return count
        for _, placed in batch:
            for place, sealed in placed.items():
                if not await vault.is_current(sealed):
                    count += await _reseal(database, vault, sealed, place)
        last = batch[-1][0]


async def _reseal(database: Database, vault: Vault, old: bytes, place: SecretLocation) -> int:
    new = await vault.seal(await vault.open(old, place), place)
    exchanged = await database.write(
        lambda session: Sealed.exchange(session, place.row, place.column, old=old, new=new)
    )
    await vault.forget(old if exchanged else new, place)
    return int(exchanged)
