"""A bounded queue of events without duplicates."""

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple
from uuid import UUID

EVERY_TOPIC = "*"


class Event(NamedTuple):
    """Something changed. `missed` says that more may have: read the database again."""

    topic: str
    payload: str = ""
    missed: bool = False

    @property
    def subject(self) -> UUID | None:
        """The ID that is the payload. None after missed events, and for what others have sent."""
        try:
            return None if self.missed else UUID(hex=self.payload)
        except ValueError:
            return None


class Backlog:
    """Events for one reader: in order, without duplicates, up to `capacity`.

    When full, the queue shrinks to one `missed` event for each topic, so that a slow reader
    costs bounded memory and still learns that it must look again.
    """

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._events: dict[Event, None] = {}
        self._has_missed = False
        """Whether the queue may hold a `missed` event, which covers others."""
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        if len(self._events) >= self._capacity:
            self._shrink()
        if not self._covers(event):
            self._events[event] = None
            self._has_missed = self._has_missed or event.missed
        self._woken.set()

    def take(self, limit: int) -> list[Event]:
        """Removes and returns the oldest events, at most `limit` of them."""
        taken = list(islice(self._events, limit))
        for event in taken:
            del self._events[event]
        if not self._events:
            self._has_missed = False
            self._woken.clear()
        return taken

    def put_back(self, taken: Iterable[Event]) -> None:
        """Undoes a `take`: these events come first again."""
        newer = self._events
        self._events = {}
        for event in (*taken, *newer):
            self.add(event)

    async def wait(self) -> None:
        """Returns when there is something to take, or after `wake`."""
        await self._woken.wait()

    def wake(self) -> None:
        self._woken.set()

    def _covers(self, event: Event) -> bool:
        if event in self._events:
            return True
        return self._has_missed and (
            Event(event.topic, missed=True) in self._events
            or Event(EVERY_TOPIC, missed=True) in self._events
        )

    def _shrink(self) -> None:
        topics = dict.fromkeys(Event(event.topic, missed=True) for event in self._events)
        too_many = len(topics) >= self._capacity
        self._events = {Event(EVERY_TOPIC, missed=True): None} if too_many else topics
        self._has_missed = True
