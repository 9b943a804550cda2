"""Runs as those who follow them see them, whichever replica carries them out.

Events wake, the database tells. All who follow the same thing here share one reader of it, so what
a change costs our database does not grow with them; who reads slowly finds the latest.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from db.errors import HowdahError
from db.events import Event, EventBus, Subscription
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.runs import RunRow, Runs

T = TypeVar("T")

log = logging.getLogger(__name__)

POLL_S = 1.5
"""So often it is read without an event too: who was to publish it may be gone, or cut off."""


def topic_of_run(run_id: UUID) -> str:
    return f"run:{run_id.hex}"


def topic_of_owner(owner: OwnerId) -> str:
    return f"runs:{owner.hex}"


class Ended(Exception):
    """Nothing more is to come: the server stops."""


class View(Generic[T]):
    """What one follower has seen of it."""

    def __init__(self, watch: "_Watch[T]") -> None:
        self._watch = watch
        self._seen = 0

    async def now(self) -> T:
        """As it is: read after this was asked."""
        await self._watch.read_again()
        return self._look()

    async def changed(self) -> T:
        """As it is when it is no longer as it was seen last."""
        while self._watch.version == self._seen:
            await self._watch.pulse()
        return self._look()

    def _look(self) -> T:
        self._seen = self._watch.version
        return self._watch.value


class Following:
    """Watches what is followed in this process, each once."""

    def __init__(self, database: Database, events: EventBus) -> None:
        self._database = database
        self._events = events
        self._watches: dict[tuple[OwnerId, str], _Watch[Any]] = {}

    def run(
        self, owner: OwnerId, run_id: UUID
    ) -> contextlib.AbstractAsyncContextManager[View[RunRow | None]]:
        """One of the owner's runs; None when they have none of this id."""

        async def read() -> RunRow | None:
            async with self._database.read() as session:
                return await Runs(session, owner).get(run_id)

        return self._following(owner, topic_of_run(run_id), read)

    def active(
        self, owner: OwnerId
    ) -> contextlib.AbstractAsyncContextManager[View[Sequence[RunRow]]]:
        """Those of the owner's runs that are queued or running."""

        async def read() -> Sequence[RunRow]:
            async with self._database.read() as session:
                return await Runs(session, owner).active()

        return self._following(owner, topic_of_owner(owner), read)

    @contextlib.asynccontextmanager
    async def _following(
        self, owner: OwnerId, topic: str, read: Callable[[], Awaitable[T]]
    ) -> AsyncIterator[View[T]]:
        key = owner, topic
        watch = self._watches.get(key)
        if watch is None or watch.is_over:
            watch = self._watches[key] = _Watch(self._events, topic, read)
        watch.followers += 1
        try:
            yield View(watch)
        finally:
            watch.followers -= 1
            if not watch.followers:
                if self._watches.get(key) is watch:
                    del self._watches[key]
                await watch.close()


class _Watch(Generic[T]):
    """Reads something whenever it may have changed, one read after the other."""

    value: T

    def __init__(self, events: EventBus, topic: str, read: Callable[[], Awaitable[T]]) -> None:
        self.version = 0
        """Grows with each change of `value`; 0 before there is one."""
        self.followers = 0
        self._read = read
        self._begun = self._ended = 0
        self._asking = 0
        self._failure: Exception | None = None
        self._pulse = asyncio.Event()
        self._changes: Subscription | None = None
        self._task = asyncio.create_task(self._keep(events, topic), name=f"runs: watch {topic}")

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def pulse(self) -> None:
        """Returns when something may have become known."""
        if self.is_over:
            raise Ended
        await self._pulse.wait()

    async def read_again(self) -> None:
        """A read that begins after this is asked; raises what it raises."""
        number = self._begun + 1
        if self._changes is not None:  # else the first is yet to begin
            self._changes.deliver(Event(self._changes.topic, missed=True))
        self._asking += 1
        try:
            while self._ended < number:
                await self.pulse()
        finally:
            self._asking -= 1
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    async def _keep(self, events: EventBus, topic: str) -> None:
        try:
            async with events.subscribe(topic) as self._changes:
                await self._refresh()
                while await _woken(self._changes):
                    await self._refresh()
        finally:
            self._beat()

    async def _refresh(self) -> None:
        """Followers are told of failures when they ask; else the next read may go better."""
        self._begun += 1
        before = self.version
        try:
            self._take(await self._read())
        except HowdahError as error:
            log.info("what is followed cannot be read just now: %s", error.message)
            self._failure = error
        except Exception as error:
            log.exception("what is followed could not be read")
            self._failure = error
        self._ended = self._begun
        if self._asking or self.version != before:
            self._beat()

    def _take(self, value: T) -> None:
        self._failure = None
        if not self.version or value != self.value:
            self.value = value
            self.version += 1

    def _beat(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()


async def _woken(changes: Subscription) -> bool:
    """By an event, or because it is time; False when none will come any more."""
    try:
        async with asyncio.timeout(POLL_S):
            await anext(changes)
    except TimeoutError:
        pass
    except StopAsyncIteration:
        return False
    return True
