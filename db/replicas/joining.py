"""Joins the other replicas of a server."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.replicas.fingerprints import refuse_differences, take_fingerprints
from db.replicas.heartbeat import Heartbeat
from db.security.keys import Keys
from db.settings import Settings


@contextlib.asynccontextmanager
async def join_replicas(
    settings: Settings,
    database: Database,
    keys: Keys,
    objects: ObjectStore,
    *,
    identify: Callable[[], Awaitable[UUID]] | None = None,
) -> AsyncIterator[Heartbeat]:
    """Sends heartbeats inside the block.

    Raises:
        BadInput: the settings of a production server differ from those of its other replicas.
    """
    fingerprints = await take_fingerprints(keys, objects, settings.events_url)
    if not settings.development:
        await refuse_differences(database, fingerprints)  # before others can see this process
    async with Heartbeat.opened(
        database, identify=identify, fingerprints=fingerprints
    ) as heartbeat:
        if not settings.development:
            await refuse_differences(database, fingerprints)  # of two that start at once
        yield heartbeat
