"""Tells every process that the access of a user has changed: a session, a token, a role."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from db.concurrency.waiting import wait_up_to
from db.events import EventBus
from db.users.tokens.verification_cache import VerificationCache

TOPIC = "access"


class AccessWatch:
    """Wakes a socket or a stream when the access of its user may have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def wake(self) -> None:
        self._changed.set()

    async def wait(self, *, within_s: float) -> None:
        """Returns after a change since the last call, at the latest after `within_s`."""
        await wait_up_to(within_s, self._changed.wait())
        self._changed.clear()


class AccessChanges:
    """After an announcement, every process verifies the tokens of the user again.

    An event holds no decision, only whom it concerns: a forged one costs a look-up. After missed
    events all verifications are forgotten; open sockets then find the change with their next
    periodic check.
    """

    def __init__(self, events: EventBus | None, verifications: VerificationCache) -> None:
        """Without `events`, only this process is told: for tests."""
        self._events = events
        self.verifications = verifications
        self._watches: defaultdict[UUID, set[AccessWatch]] = defaultdict(set)

    async def announce(self, user_id: UUID) -> None:
        """Call this after the commit of the change."""
        self._apply(user_id)
        if self._events is not None:
            await self._events.publish(TOPIC, user_id.hex)

    @contextlib.contextmanager
    def watch(self, user_id: UUID) -> Iterator[AccessWatch]:
        watch = AccessWatch()
        self._watches[user_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[user_id].discard(watch)
            if not self._watches[user_id]:
                del self._watches[user_id]

    async def follow(self) -> None:
        """Applies the announcements of all processes until it is cancelled."""
        if self._events is None:
            return
        async with self._events.subscribe(TOPIC) as announcements:
            async for event in announcements:
                if event.subject is None:
                    self.verifications.forget_all()
                else:
                    self._apply(event.subject)

    def _apply(self, user_id: UUID) -> None:
        self.verifications.forget(user_id)
        for watch in self._watches.get(user_id, ()):
            watch.wake()
