"""Followers share one reader, which events wake; slow followers get merged values."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from db.errors import Unavailable
from db.events import Event, EventBus, Watch, WatchClosed, open_events
from db.postgres.embedded import EmbeddedPostgres
from tests.fixtures.patience import patience


class Counter:
    """A value that others change, as a row of the database is; counts its reads."""

    def __init__(self, events: EventBus) -> None:
        self.topic = f"counter:{uuid4()}"
        self.value = 0
        self.reads: list[Event] = []
        self.failure: Exception | None = None
        self.was_read = asyncio.Event()
        self._events = events

    async def read(self, event: Event) -> int:
        self.reads.append(event)
        self.was_read.set()
        if self.failure is not None:
            raise self.failure
        return self.value

    async def change(self) -> None:
        self.value += 1
        await self._events.publish(self.topic, str(self.value))


@pytest.fixture(autouse=True)
async def _limited() -> AsyncIterator[None]:
    async with patience():
        yield


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def counter(events: EventBus) -> Counter:
    return Counter(events)


async def follow(
    stack: AsyncExitStack, events: EventBus, counter: Counter, poll_s: float | None = None
) -> Watch[int]:
    following = events.watches.follow(counter.topic, counter.topic, counter.read, poll_s=poll_s)
    return await stack.enter_async_context(following)


async def test_watch_followers_share_one_reader_and_subscription(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    before = events.readers
    watches = [await follow(stack, events, counter) for _ in range(100)]
    for watch in watches:
        await watch.started()
    assert events.readers - before == 1
    await counter.change()
    for watch in watches:
        while await watch.next_change() != 1:
            pass
    assert len(counter.reads) < 10  # more than two only if the bus reports missed events


async def test_watch_current_reads_value_again(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    first = await follow(stack, events, counter)
    assert await first.current() == 0
    counter.value = 7
    second = await follow(stack, events, counter)
    assert await second.current() == 7
    assert await first.next_change() == 7


async def test_watch_slow_follower_skips_intermediate_values(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    slow, eager = [await follow(stack, events, counter) for _ in range(2)]
    await slow.current()
    await eager.current()
    for number in range(1, 4):
        await counter.change()
        while await eager.next_change() != number:
            pass
    assert await slow.next_change() == 3


async def test_watch_merges_values_for_slow_follower(
    events: EventBus, stack: AsyncExitStack
) -> None:
    topic, seen = f"log:{uuid4()}", asyncio.Event()

    async def read(event: Event) -> list[str]:
        if event.payload == "c":
            seen.set()
        return [event.payload] if event.payload else []

    following = events.watches.follow(topic, topic, read, merge=lambda old, new: [*old, *new])
    watch = await stack.enter_async_context(following)
    await watch.started()
    for payload in "abc":
        await events.publish(topic, payload)
    await seen.wait()
    assert await watch.next_change() == ["a", "b", "c"]


async def test_watch_reads_value_after_missed_event(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    watch = await follow(stack, events, counter)
    await watch.current()
    counter.value = 5
    events._subscriptions.mark_missed()
    assert await watch.next_change() == 5
    assert counter.reads[-1].missed


async def test_watch_polls_when_no_event_arrives(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    watch = await follow(stack, events, counter, poll_s=0.001)
    await watch.current()
    counter.value = 9
    assert await watch.next_change() == 9


async def test_watch_current_and_started_raise_read_error(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    counter.failure = Unavailable("The database is away.", hint="Wait.")
    watch = await follow(stack, events, counter)
    with pytest.raises(Unavailable):
        await watch.started()
    with pytest.raises(Unavailable):
        await watch.current()


async def test_watch_repeats_failed_read_as_missed(
    events: EventBus, counter: Counter, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    watch = await follow(stack, events, counter)
    await watch.current()
    counter.failure = ValueError("a bug")
    counter.was_read.clear()
    with caplog.at_level(logging.ERROR):
        await counter.change()
        await counter.was_read.wait()
        counter.failure = None
        assert await watch.next_change() == 1
    assert counter.reads[-1].missed
    assert "will retry" in caplog.text


async def test_watch_loses_no_event_after_failed_read(
    events: EventBus, counter: Counter, stack: AsyncExitStack
) -> None:
    watch = await follow(stack, events, counter)
    await watch.current()
    counter.failure = Unavailable("The database is away.", hint="Wait.")
    counter.was_read.clear()
    await counter.change()
    await counter.was_read.wait()
    counter.failure = None
    await counter.change()
    while await watch.next_change() != 2:
        pass
    await watch.current()
    payloads = [event.payload for event in counter.reads]
    between = counter.reads[payloads.index("1") + 1 : payloads.index("2")]
    assert any(event.missed for event in between)


async def test_watch_reader_closes_with_last_follower(events: EventBus, counter: Counter) -> None:
    before = events.readers
    async with AsyncExitStack() as first:
        await (await follow(first, events, counter)).current()
        async with AsyncExitStack() as second:
            await (await follow(second, events, counter)).current()
        assert events.readers == before + 1
    assert events.readers == before
    assert counter.topic not in events.watches._readers


async def test_watch_ends_when_bus_closes(cluster: EmbeddedPostgres) -> None:
    bus = await open_events(cluster.url, channel=f"tests-{uuid4()}")
    counter = Counter(bus)
    async with AsyncExitStack() as stack:
        watch = await follow(stack, bus, counter)
        await watch.current()
        waiting = asyncio.ensure_future(watch.next_change())
        await bus.close()
        with pytest.raises(WatchClosed):
            await waiting
        with pytest.raises(WatchClosed):
            await (await follow(stack, bus, counter)).current()
