"""Live status of runs, whichever replica executes them.

An event only wakes the reader; the status is read from the database. All followers of a topic in
this process share one reader, so the load on the database does not grow with their number. A slow
follower skips intermediate states and gets the latest.
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
"""How often the status is read without an event: its publisher may have died."""


def topic_of_run(run_id: UUID) -> str:
    return f"run:{run_id.hex}"


def topic_of_owner(owner: OwnerId) -> str:
    return f"runs:{owner.hex}"


async def publish_change(events: EventBus, owner: OwnerId, run_id: UUID) -> None:
    """Wakes the followers of the run and of the owner's active runs."""
    await events.publish(topic_of_run(run_id))
    await events.publish(topic_of_owner(owner))


class LiveStatusClosed(Exception):
    """The server is stopping: there are no more changes."""


class LiveView(Generic[T]):
    """One follower's position in the changes of a topic."""

    def __init__(self, reader: "_SharedReader[T]") -> None:
        self._reader = reader
        self._seen = 0

    async def current(self) -> T:
        """The value, read from the database after this call."""
        await self._reader.read_again()
        return self._take_latest()

    async def next_change(self) -> T:
        """Waits until the value differs from the last one this view returned."""
        while self._reader.version == self._seen:
            await self._reader.wait()
        return self._take_latest()

    def _take_latest(self) -> T:
        self._seen = self._reader.version
        return self._reader.value


class LiveStatus:
    """Follows runs with one shared reader for each topic."""

    def __init__(self, database: Database, events: EventBus) -> None:
        self._database = database
        self._events = events
        self._readers: dict[tuple[OwnerId, str], _SharedReader[Any]] = {}

    def run(
        self, owner: OwnerId, run_id: UUID
    ) -> contextlib.AbstractAsyncContextManager[LiveView[RunRow | None]]:
        """Follows one run of the owner. The value is None if the owner has no such run."""

        async def read() -> RunRow | None:
            async with self._database.read() as session:
                return await Runs(session, owner).get(run_id)

        return self._share(owner, topic_of_run(run_id), read)

    def active(
        self, owner: OwnerId
    ) -> contextlib.AbstractAsyncContextManager[LiveView[Sequence[RunRow]]]:
        """Follows the owner's queued and running runs."""

        async def read() -> Sequence[RunRow]:
            async with self._database.read() as session:
                return await Runs(session, owner).active()

        return self._share(owner, topic_of_owner(owner), read)

    @contextlib.asynccontextmanager
    async def _share(
        self, owner: OwnerId, topic: str, read: Callable[[], Awaitable[T]]
    ) -> AsyncIterator[LiveView[T]]:
        key = owner, topic
        reader = self._readers.get(key)
        if reader is None or reader.is_closed:
            reader = self._readers[key] = _SharedReader(self._events, topic, read)
        reader.followers += 1
        try:
            yield LiveView(reader)
        finally:
            reader.followers -= 1
            if not reader.followers:
                if self._readers.get(key) is reader:
                    del self._readers[key]
                await reader.close()


class _SharedReader(Generic[T]):
    """Reads the value whenever it may have changed, one read at a time."""

    value: T

    def __init__(self, events: EventBus, topic: str, read: Callable[[], Awaitable[T]]) -> None:
        self.version = 0
        """Incremented with each change of `value`; 0 before the first read."""
        self.followers = 0
        self._read = read
        self._started_reads = self._finished_reads = 0
        self._waiting_reads = 0
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._changes: Subscription | None = None
        self._task = asyncio.create_task(
            self._read_until_closed(events, topic), name=f"runs: reader {topic}"
        )

    @property
    def is_closed(self) -> bool:
        return self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def wait(self) -> None:
        """Returns when a read has finished; raises LiveStatusClosed once the reader has stopped."""
        if self.is_closed:
            raise LiveStatusClosed
        await self._changed.wait()

    async def read_again(self) -> None:
        """Waits for a read that begins after this call; raises its error."""
        number = self._started_reads + 1
        if self._changes is not None:  # else the first read has not begun
            self._changes.deliver(Event(self._changes.topic, missed=True))
        self._waiting_reads += 1
        try:
            while self._finished_reads < number:
                await self.wait()
        finally:
            self._waiting_reads -= 1
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    async def _read_until_closed(self, events: EventBus, topic: str) -> None:
        try:
            async with events.subscribe(topic) as self._changes:
                await self._refresh()
                while await _wait_for_event(self._changes):
                    await self._refresh()
        finally:
            self._notify()

    async def _refresh(self) -> None:
        """Failures are raised by `read_again` only; otherwise the next read may succeed."""
        self._started_reads += 1
        before = self.version
        try:
            self._set_value(await self._read())
        except HowdahError as error:
            log.info("cannot read a live status, will retry: %s", error.message)
            self._failure = error
        except Exception as error:
            log.exception("cannot read a live status, will retry")
            self._failure = error
        self._finished_reads = self._started_reads
        if self._waiting_reads or self.version != before:
            self._notify()

    def _set_value(self, value: T) -> None:
        self._failure = None
        if not self.version or value != self.value:
            self.value = value
            self.version += 1

    def _notify(self) -> None:
        pulse, self._changed = self._changed, asyncio.Event()
        pulse.set()


async def _wait_for_event(changes: Subscription) -> bool:
    """Returns after an event or POLL_S; False once the subscription has ended."""
    try:
        async with asyncio.timeout(POLL_S):
            await anext(changes)
    except TimeoutError:
        pass
    except StopAsyncIteration:
        return False
    return True
