"""Which installation deletes from an object store: others may have files under the same keys.

The object `installation/owner` names it. The installation that sweeps a store first writes it, and
renews it as long as it runs. One that has not been renewed for ABANDONED_AFTER is replaced.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from db.errors import HowdahError, NotFound, Unavailable
from db.installation.backup_hold import is_backup_running
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
CHECKED_EVERY_S = 60.0
"""How long users may or may not delete without another look. Shorter than SETTLED_AFTER."""
_ID_BYTES = 32


class _Owner(NamedTuple):
    id: str
    age: timedelta


class SweptStore:
    """The object store as one installation sees it."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._is_settled = False
        self._reported: str | None = None
        self._may_delete = False
        self._checked_until = 0.0
        self._checking = asyncio.Lock()

    async def may_delete(self) -> bool:
        """Whether what users delete may be deleted.

        Not while the store is another installation's, nor while a backup copies it: sweeps delete
        it later.

        Raises:
            Unavailable: the database or the store does not respond.
        """
        async with self._checking:
            if time.monotonic() >= self._checked_until:
                try:
                    self._may_delete = not await self._is_anothers()
                except HowdahError as error:
                    raise _not_checked() from error
                self._checked_until = time.monotonic() + CHECKED_EVERY_S
        try:
            return self._may_delete and not await is_backup_running(self._database)
        except HowdahError as error:
            raise _not_checked() from error

    async def _is_anothers(self) -> bool:
        installation, owner = await read_installation(self._database), await self._read_owner()
        if owner is None or owner.age > ABANDONED_AFTER:
            return False
        if installation is not None and owner.id == installation.id.hex:
            return False
        self._report(owner.id)
        return True

    async def is_ours(self) -> bool:
        """Whether sweeps may delete objects.

        False also for a while after the first call, and while a backup runs.
        """
        if await is_backup_running(self._database):
            return False
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
                "installation %s sweeps this object store, so that nothing is deleted from it "
                "here. Set a store of its own for this installation, or delete the object %s if "
                "the other one is gone",
                owner,
                KEY,
            )
        self._reported = owner


def _not_checked() -> Unavailable:
    return Unavailable(
        "Howdah cannot tell whether it may delete from its object store.",
        hint="Try again later.",
        retry_after_s=5,
    )
