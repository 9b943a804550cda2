"""Which installation sweeps an object store: objects without a row here may have one elsewhere.

The object `installation/owner` names it. The installation that sweeps a store first writes it, and
renews it as long as it runs. One that has not been renewed for ABANDONED_AFTER is replaced.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from db.errors import NotFound
from db.installation.installation import read_installation
from db.objects.store import ObjectStore
from db.postgres.engine import Database

log = logging.getLogger(__name__)

FOLDER = "installation"
KEY = f"{FOLDER}/owner"
SETTLED_AFTER = timedelta(minutes=5)
"""Of two installations that write the owner at the same time, one finds the other's ID by then."""
RENEWED_AFTER = timedelta(days=1)
ABANDONED_AFTER = timedelta(days=30)
_ID_BYTES = 32


class _Owner(NamedTuple):
    id: str
    age: timedelta


class SweptStore:
    """The object store as the sweeps of one installation see it."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._is_settled = False
        self._reported: str | None = None

    async def is_ours(self) -> bool:
        """Whether sweeps may delete objects. False also for a while after the first call."""
        installation = await read_installation(self._database)
        if installation is None:
            return False
        own, owner = installation.id.hex, await self._read_owner()
        if owner is None or (owner.id != own and owner.age > ABANDONED_AFTER):
            self._is_settled = False
            await self._objects.put_bytes(KEY, own.encode())
        elif owner.id != own:
            self._is_settled = False
            self._report(owner.id)
        else:
            self._is_settled |= owner.age >= SETTLED_AFTER
            if owner.age > RENEWED_AFTER:
                await self._objects.put_bytes(KEY, own.encode())
        return self._is_settled

    async def _read_owner(self) -> _Owner | None:
        async for batch in self._objects.list(FOLDER):
            for found in batch:
                if found.key == KEY:
                    try:
                        written = await self._objects.read_bytes(KEY, start=0, end=_ID_BYTES)
                    except NotFound:
                        return None
                    return _Owner(
                        written.decode(errors="replace"), datetime.now(UTC) - found.modified_at
                    )
        return None

    def _report(self, owner: str) -> None:
        if owner != self._reported:
            log.warning(
                "installation %s sweeps this object store, so that unused objects stay here. Set a "
                "store of its own for this installation, or delete the object %s if the other one "
                "is gone",
                owner,
                KEY,
            )
        self._reported = owner
