"""Wakes the process that holds a database session: work is queued for it, or it is to be closed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from db.events import EventBus

WORK_TOPIC = "sessions:work"
CLOSE_TOPIC = "sessions:close"


class SessionSignals:
    """The sessions that this process holds, each with the event that wakes its worker."""

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._held: dict[UUID, asyncio.Event] = {}

    async def announce(self, session_id: UUID) -> None:
        """Call after the commit of what the worker has to see."""
        if not self.wake(session_id):
            await self._events.publish(WORK_TOPIC, session_id.hex)

    def wake(self, session_id: UUID) -> bool:
        """Returns False if another process holds the session."""
        woken = self._held.get(session_id)
        if woken is not None:
            woken.set()
        return woken is not None

    def wake_all(self) -> None:
        for woken in self._held.values():
            woken.set()

    @contextmanager
    def registered(self, session_id: UUID) -> Iterator[asyncio.Event]:
        """Yields the event of a session that this process holds within the block."""
        woken = self._held[session_id] = asyncio.Event()
        try:
            yield woken
        finally:
            del self._held[session_id]
