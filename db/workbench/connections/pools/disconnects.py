"""Closes the pools of this process whose connection was disconnected or deleted at another."""

import asyncio
import logging
from collections.abc import Collection
from uuid import UUID

from db.concurrency.retry_log import RetryLog
from db.connections import disconnect_counts
from db.events import EventBus
from db.postgres.engine import Database
from db.workbench.connections.pools.pool_registry import PoolRegistry

TOPIC = "connections:closed"
POLL_S = 1.5

log = logging.getLogger(__name__)


class Disconnects:
    """Announces closed connections, and closes those that other processes announce.

    An event holds no decision: the database says which pools are outdated. It is also read after
    missed events, and every `POLL_S` while there are pools, in case an event was lost.
    """

    def __init__(self, database: Database, pools: PoolRegistry, events: EventBus | None) -> None:
        """Without `events`, the other processes learn of a closed connection by polling."""
        self._database = database
        self._pools = pools
        self._events = events
        self._retry_log = RetryLog(log, "check for closed connections")

    async def announce(self, connection_id: UUID, disconnect_count: int | None) -> None:
        """Call this after the commit; returns when the pools of this process are closed."""
        closing = self._pools.close_outdated({connection_id: disconnect_count})
        if self._events is not None:
            await self._events.publish(TOPIC, connection_id.hex)
        if closing:
            await asyncio.wait(closing)

    async def follow(self) -> None:
        """Closes outdated pools until it is cancelled or the bus ends."""
        if self._events is None:
            while True:
                await asyncio.sleep(POLL_S)
                await self._check(self._pools.connection_ids())
        async with self._events.subscribe(TOPIC) as announcements:
            while not announcements.has_ended:
                event = await announcements.next_within(POLL_S)
                announced = event and event.subject
                mine = self._pools.connection_ids()
                await self._check(mine if announced is None else mine & {announced})

    async def _check(self, connection_ids: Collection[UUID]) -> None:
        if not connection_ids:
            return
        with self._retry_log.attempt():
            async with self._database.read(reserved=True) as session:
                counts = await disconnect_counts(session, connection_ids)
            self._pools.close_outdated({found: counts.get(found) for found in connection_ids})
