"""Live-follow: sends a value to its followers whenever it changes, whichever process changes it.

- All followers of a key in this process share one reader, which has one subscription and one read
  at a time: the load on the database does not grow with the number of followers.
- An event only wakes the reader. After missed events, and after `poll_s` without an event (its
  publisher may have died), the reader gets an event with `missed` set and reads everything again.
- A follower that is slow skips intermediate values: it gets the latest, or whatever `merge` makes
  of a value that it has not taken and the next one. Its memory is that of one merged value.
- A failed read is raised by `current` and `started`. Otherwise it is logged and repeated.
- The reader closes with its last follower. When the bus closes, followers get `WatchClosed`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeAlias, TypeVar

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import start_background
from db.errors import HowdahError
from db.events.backlog import Event
from db.events.subscription import Subscription

T = TypeVar("T")

log = logging.getLogger(__name__)

POLL_S = 1.5

Subscribe: TypeAlias = Callable[[str], AbstractAsyncContextManager[Subscription]]
Read: TypeAlias = Callable[[Event], Awaitable[T]]
"""Reads the value after an event. The first, and the next after a failed read, is `missed`."""
Merge: TypeAlias = Callable[[T, T], T]
"""Combines a value that a follower has not taken with the next one."""


class WatchClosed(Exception):
    """The server is stopping: there are no more changes."""


class Watch(Generic[T]):
    """One follower's position in the changes of a value."""

    def __init__(self, reader: "_SharedReader[T]", merge: Merge[T]) -> None:
        self._reader = reader
        self._merge = merge
        self._untaken: list[T] = []  # at most one

    async def started(self) -> None:
        """Waits for the first read of the value; raises its error."""
        await self._reader.wait_for_read(1)

    async def current(self) -> T:
        """Returns the value, read after this call."""
        await self._reader.read_again()
        self._untaken.clear()
        return self._reader.value

    async def next_change(self) -> T:
        """Waits until the value differs from the last one that this watch received."""
        await self.wait_changed()
        return self._untaken.pop()

    async def wait_changed(self) -> None:
        """Waits until `next_change` returns at once. Can be cancelled without losing a change."""
        while not self._untaken:
            await self._reader.wait()

    @property
    def has_changed(self) -> bool:
        """Whether `next_change` returns at once."""
        return bool(self._untaken)

    def receive(self, value: T) -> None:
        if self._untaken:
            value = self._merge(self._untaken.pop(), value)
        self._untaken.append(value)


async def wait_any_changed(*watches: Watch[Any]) -> None:
    """Waits until one of them `has_changed`. Raises WatchClosed as soon as one is closed."""
    waits = [asyncio.ensure_future(watch.wait_changed()) for watch in watches]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            wait.result()
    finally:
        for wait in waits:
            wait.cancel()


class Watches:
    """The watches of a process, by key."""

    def __init__(self, subscribe: Subscribe) -> None:
        self._subscribe = subscribe
        self._readers: dict[Hashable, _SharedReader[Any]] = {}

    @contextlib.asynccontextmanager
    async def follow(
        self,
        key: Hashable,
        topic: str,
        read: Read[T],
        *,
        merge: Merge[T] = lambda _untaken, latest: latest,
        poll_s: float | None = POLL_S,
    ) -> AsyncIterator[Watch[T]]:
        """Follows the value that `read` returns, within the block.

        Followers with the same key share the `read` of the first, so the key names everything that
        `read` depends on: the owner too. Without `poll_s`, only events cause reads.
        """
        reader = self._readers.get(key)
        if reader is None or reader.is_closed:
            reader = self._readers[key] = _SharedReader(self._subscribe, topic, read, poll_s)
        watch = Watch(reader, merge)
        reader.followers.add(watch)
        try:
            yield watch
        finally:
            reader.followers.remove(watch)
            if not reader.followers:
                if self._readers.get(key) is reader:
                    del self._readers[key]
                await reader.close()


class _SharedReader(Generic[T]):
    """Reads the value whenever it may have changed, one read at a time."""

    value: T

    def __init__(
        self, subscribe: Subscribe, topic: str, read: Read[T], poll_s: float | None
    ) -> None:
        self.followers: set[Watch[T]] = set()
        self._read = read
        self._poll_s = poll_s
        self._retry_log = RetryLog(log, "read a watched value")
        self._missed = Event(topic, missed=True)
        self._started_reads = self._finished_reads = 0
        self._failure: Exception | None = None
        self._woken = asyncio.Event()
        self._events: Subscription | None = None
        self._task = start_background(self._run(subscribe, topic), name=f"watch: {topic}")

    @property
    def is_closed(self) -> bool:
        return self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def wait(self) -> None:
        """Returns after the next read; raises WatchClosed once the reader is closed."""
        if self.is_closed:
            raise WatchClosed
        await self._woken.wait()

    async def read_again(self) -> None:
        """Waits for a read that begins after this call; raises its error."""
        if self._events is not None:  # else the first read has not begun
            self._events.deliver(self._missed)
        await self.wait_for_read(self._started_reads + 1)

    async def wait_for_read(self, number: int) -> None:
        """Waits for the read with this number; raises the error of the last read."""
        while self._finished_reads < number:
            await self.wait()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    async def _run(self, subscribe: Subscribe, topic: str) -> None:
        event = self._missed
        try:
            async with subscribe(topic) as self._events:
                while not self._events.has_ended:
                    if self._failure and not event.missed:
                        await self._refresh(self._missed)
                    await self._refresh(event)
                    pause_s = POLL_S if self._failure else self._poll_s
                    event = await self._events.next_within(pause_s) or self._missed
        finally:
            self._wake()

    async def _refresh(self, event: Event) -> None:
        self._started_reads += 1
        try:
            self._publish(await self._read(event))
            if event.missed:  # other events do not make up for a failed read
                self._failure = None
            self._retry_log.succeeded()
        except HowdahError as error:
            if self._failure is None:  # else it is logged
                log.info("cannot read a watched value, will retry: %s", error.message)
            self._failure = error
        except Exception as error:  # noqa: BLE001 - the next read may succeed
            self._retry_log.failed(error)
            self._failure = error
        self._finished_reads = self._started_reads
        self._wake()

    def _publish(self, value: T) -> None:
        if not hasattr(self, "value") or value != self.value:
            self.value = value
            for watch in self.followers:
                watch.receive(value)

    def _wake(self) -> None:
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()
