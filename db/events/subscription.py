"""The subscriptions of this process, by topic."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

from db.concurrency.waiting import wait_up_to
from db.events.backlog import EVERY_TOPIC, Backlog, Event

T = TypeVar("T")

UNREAD_LIMIT = 64
READ_AGAIN_S = 0.5
"""`read_until` reads this often without an event, because a bus may lose one."""


class Subscription:
    """The events of one topic for one reader, as an asynchronous iterator.

    It ends when the bus is closed. Waiting for the next event may be cancelled (by a timeout,
    say) at any time without losing one.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._unread = Backlog(capacity=UNREAD_LIMIT)
        self.has_ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        await self._unread.wait()
        if self.has_ended:
            raise StopAsyncIteration
        return self._unread.take(1)[0]

    async def next_within(self, seconds: float | None) -> Event | None:
        """Returns the next event, or None after `seconds` and once the subscription has ended."""
        return await wait_up_to(seconds, anext(self, None))

    async def read_until(
        self, is_last: Callable[[T], bool], read: Callable[[], Awaitable[T]], *, deadline: float
    ) -> T:
        """Reads now and after each event until a value `is_last`; returns the newest value.

        It waits for events until `deadline`, a time of the event loop, and then reads once more.
        """
        loop = asyncio.get_running_loop()
        value = await read()
        while not is_last(value) and (left_s := deadline - loop.time()) > 0:
            await self.next_within(min(left_s, READ_AGAIN_S))
            value = await read()
        return value

    def deliver(self, event: Event) -> None:
        self._unread.add(event)

    def end(self) -> None:
        self.has_ended = True
        self._unread.wake()


class Subscriptions:
    """All subscriptions of this process; delivery costs O(readers of the topic)."""

    def __init__(self) -> None:
        self._by_topic: defaultdict[str, set[Subscription]] = defaultdict(set)

    @property
    def count(self) -> int:
        return sum(map(len, self._by_topic.values()))

    @contextmanager
    def joined(self, subscription: Subscription) -> Iterator[None]:
        """Delivers to `subscription` within the block."""
        readers = self._by_topic[subscription.topic]
        readers.add(subscription)
        try:
            yield
        finally:
            readers.discard(subscription)
            if not readers:
                self._by_topic.pop(subscription.topic, None)

    def deliver(self, event: Event) -> None:
        if event.topic == EVERY_TOPIC:
            self.mark_missed()
        for subscription in self._by_topic.get(event.topic, ()):
            subscription.deliver(event)

    def mark_missed(self) -> None:
        """Makes every reader query the database again."""
        for topic, readers in self._by_topic.items():
            for subscription in readers:
                subscription.deliver(Event(topic, missed=True))

    def end(self) -> None:
        for readers in self._by_topic.values():
            for subscription in readers:
                subscription.end()
