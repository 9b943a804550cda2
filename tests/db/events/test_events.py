import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from db.errors import BadInput, Unavailable
from db.events import Event, EventBus, Subscription, open_events
from db.events.backlog import EVERY_TOPIC, Backlog
from db.events.bus import UNSENT_LIMIT
from db.events.frames import FRAME_LIMIT, pack
from db.events.subscription import UNREAD_LIMIT
from tests.fixtures.brokers import PASSWORD, Broker, frozen, running
from tests.fixtures.connected import connected
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.ports import free_port

KINDS = ["postgres", "redis", "nats"]
OpenBus = Callable[[], Coroutine[None, None, EventBus]]


@pytest.fixture(scope="module", params=KINDS)
async def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Broker]:
    async with running(request.param, tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
async def open_bus(broker: Broker) -> AsyncIterator[OpenBus]:
    """Opens buses of one installation, as replicas do. Nothing of theirs may be left running."""
    channel = f"howdah-{uuid4()}"
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:

        async def open_one() -> EventBus:
            bus = await open_events(broker.url, channel=channel)
            stack.push_async_callback(bus.close)
            return bus

        yield open_one
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


async def following(stack: AsyncExitStack, bus: EventBus, topic: str) -> Subscription:
    return await stack.enter_async_context(bus.subscribe(topic))


async def receive(subscription: Subscription, count: int) -> list[Event]:
    async with patience():
        return [await anext(subscription) for _ in range(count)]


async def until_missed(subscription: Subscription) -> None:
    async with patience():
        async for event in subscription:
            if event.missed:
                return


async def until_up(bus: EventBus) -> None:
    async with patience():
        await bus._up.wait()


async def test_event_reaches_every_replica_in_order(open_bus: OpenBus) -> None:
    one, other = await open_bus(), await open_bus()
    payloads = [str(number) for number in range(50)]
    async with one.subscribe("run:1") as here, other.subscribe("run:1") as there:
        for payload in payloads:
            await one.publish("run:1", payload)
        expected = [Event("run:1", payload) for payload in payloads]
        assert await receive(here, 50) == expected
        assert await receive(there, 50) == expected


async def test_event_payload_is_unchanged(open_bus: OpenBus) -> None:
    bus = await open_bus()
    payload = "naïve ✓ 🐘 \"quoted\" \\ 'single' \n\x00 $1 %s"
    async with bus.subscribe("tasks: ÿ * > ?") as subscription:
        await bus.publish("tasks: ÿ * > ?", payload)
        assert await receive(subscription, 1) == [Event("tasks: ÿ * > ?", payload)]


async def test_event_reaches_subscribers_of_its_topic_only(open_bus: OpenBus) -> None:
    bus = await open_bus()
    async with bus.subscribe("tasks:1") as mine, bus.subscribe("tasks:2") as theirs:
        await bus.publish("tasks:1", "first")
        await bus.publish("tasks:2", "second")
        assert await receive(theirs, 1) == [Event("tasks:2", "second")]
        assert await receive(mine, 1) == [Event("tasks:1", "first")]
        assert len(mine._unread) == len(theirs._unread) == 0


async def test_event_too_large_is_sent_without_payload(open_bus: OpenBus) -> None:
    bus = await open_bus()
    async with bus.subscribe("run:1") as subscription:
        await bus.publish("run:1", "é" * FRAME_LIMIT)
        assert await receive(subscription, 1) == [Event("run:1", missed=True)]
        largest = "x" * (FRAME_LIMIT - len(pack([Event("run:1")])[0]) - len("[]"))
        await bus.publish("run:1", largest)
        assert await receive(subscription, 1) == [Event("run:1", largest)]


async def test_slow_subscriber_receives_missed_events_notice(open_bus: OpenBus) -> None:
    bus = await open_bus()
    async with bus.subscribe("run:1") as slow, bus.subscribe("done") as done:
        for number in range(1_000):
            await bus.publish("run:1", str(number))
        await bus.publish("done")
        await receive(done, 1)
        assert len(slow._unread) <= UNREAD_LIMIT
        await until_missed(slow)


async def test_event_reaches_a_thousand_subscribers(open_bus: OpenBus) -> None:
    bus = await open_bus()
    async with AsyncExitStack() as stack:
        readers = [await following(stack, bus, "run:1") for _ in range(1_000)]
        await bus.publish("run:1", "started")
        heard = await asyncio.gather(*(receive(reader, 1) for reader in readers))
        assert heard == [[Event("run:1", "started")]] * 1_000
    assert not bus._subscriptions._by_topic


async def test_cancelled_wait_loses_no_event(open_bus: OpenBus) -> None:
    bus = await open_bus()
    async with bus.subscribe("run:1") as subscription:
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        waiting.cancel()
        await bus.publish("run:1", "after")
        assert await receive(subscription, 1) == [Event("run:1", "after")]


async def test_cancelled_subscription_leaves_nothing_behind(open_bus: OpenBus) -> None:
    bus = await open_bus()
    entered = asyncio.Event()

    async def read() -> None:
        async with bus.subscribe("run:1") as subscription:
            entered.set()
            async for _ in subscription:
                pass

    reader = asyncio.create_task(read())
    await entered.wait()
    reader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reader
    assert not bus._subscriptions._by_topic


async def test_closed_bus_ends_subscriptions_and_flushes(open_bus: OpenBus) -> None:
    leaving, staying = await open_bus(), await open_bus()
    before = asyncio.all_tasks()
    async with leaving.subscribe("run:1") as ended, staying.subscribe("run:1") as subscription:
        waiting = asyncio.ensure_future(anext(ended))
        await leaving.publish("other", "first the batch in flight")
        await asyncio.sleep(0)
        await leaving.publish("run:1", "last words")
        await leaving.close()
        assert await receive(subscription, 1) == [Event("run:1", "last words")]
        with contextlib.suppress(StopAsyncIteration):
            assert await waiting == Event("run:1", "last words")
        assert [event async for event in ended] == []
    async with leaving.subscribe("run:1") as late:
        assert [event async for event in late] == []
    assert asyncio.all_tasks() <= before
    with pytest.raises(Unavailable):
        await leaving.ping()
    await leaving.close()


async def test_bus_reconnects_after_server_restart(broker: Broker, open_bus: OpenBus) -> None:
    one, other = await open_bus(), await open_bus()
    async with one.subscribe("run:1") as here, other.subscribe("run:1") as there:
        await broker.kill()
        await asyncio.gather(until_missed(here), until_missed(there))
        await one.publish("run:1", "published in the gap")
        await broker.start()
        await asyncio.gather(until_up(one), until_up(other))
        await one.ping()
        there._unread.take(UNREAD_LIMIT)
        await one.publish("run:1", "after the gap")
        async with patience():
            while (await anext(there)).payload != "after the gap":
                pass


@pytest.mark.usefixtures("real_limits")
async def test_silent_server_is_detected_and_subscribers_poll(
    broker: Broker, open_bus: OpenBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await open_bus()
    async with bus.subscribe("run:1") as subscription:
        with frozen(broker):
            await until_missed(subscription)
            with pytest.raises(Unavailable) as refusal:
                await bus.ping()
            await until_missed(subscription)
            await until_missed(subscription)
        await until_up(bus)
        await bus.ping()
    assert bus.outages >= 1
    assert sum(bus.lags.counts) >= 2  # of the heartbeats before and after
    assert "is down (TimeoutError)" in caplog.text
    assert PASSWORD not in caplog.text + str(refusal.value) + refusal.value.hint


@pytest.mark.usefixtures("real_limits")
async def test_events_published_during_outage_arrive(broker: Broker, open_bus: OpenBus) -> None:
    bus = await open_bus()
    async with bus.subscribe("run:1") as mine, bus.subscribe("run:2") as theirs:
        with frozen(broker):
            await until_missed(mine)
            for number in range(UNSENT_LIMIT + 1):
                await bus.publish("run:1", str(number))
            await bus.publish("run:2", "rare")
            assert len(bus._unsent) <= UNSENT_LIMIT
        async with patience():
            while (await anext(theirs)).payload != "rare":
                pass
        await until_missed(mine)


@pytest.mark.usefixtures("real_limits")
async def test_close_does_not_wait_for_silent_server(broker: Broker, open_bus: OpenBus) -> None:
    bus = await open_bus()
    with frozen(broker):
        await bus.publish("run:1", "never sent")
        async with patience():
            await bus.close()


async def test_foreign_message_is_ignored(
    broker: Broker, open_bus: OpenBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await open_bus()
    async with bus.subscribe("run:1") as subscription:
        for nonsense in ["", "{", "[[]]", '["run:1"', '[[1,"run:1",null]]', "\x00"]:
            bus._receive(nonsense)
        await bus.publish("run:1", "sense")
        assert await receive(subscription, 1) == [Event("run:1", "sense")]
    assert "invalid event" in caplog.text
    assert broker.url not in caplog.text


@pytest.mark.parametrize("broker", ["postgres"], indirect=True)
async def test_postgres_bus_uses_one_connection(broker: Broker, open_bus: OpenBus) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus()
        for number in range(100):
            await following(stack, bus, f"run:{number}")
        assert await event_sessions(broker.url) == 1
    await bus.close()
    async with patience():
        while await event_sessions(broker.url):  # noqa: ASYNC110 - the server's view, by asking
            await asyncio.sleep(0.01)


async def event_sessions(url: str) -> int:
    async with connected(url) as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'howdah events'"
        )
        return count


@pytest.mark.parametrize(
    "url", [f"{scheme}://howdah:{PASSWORD}@127.0.0.1" for scheme in ("postgres", "redis", "nats")]
)
@pytest.mark.usefixtures("real_limits")
async def test_missing_server_only_delays_start(url: str, caplog: pytest.LogCaptureFixture) -> None:
    bus = await open_events(f"{url}:{free_port()}/howdah")
    try:
        await bus.publish("run:1", "kept")
        with pytest.raises(Unavailable, match="does not respond"):
            await bus.ping()
    finally:
        await bus.close()
    assert "is not available yet" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("real_limits")
async def test_wrong_password_is_logged(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    scheme, _, rest = broker.url.partition("://")
    wrong = f"{scheme}://howdah:wrong-{PASSWORD}@{rest.partition('@')[2]}"
    with caplog.at_level(logging.DEBUG):
        bus = await open_events(wrong)
        await bus.close()
    assert "is not available yet" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("url", ["kafka://somewhere", "howdah:secret@somewhere", ""])
async def test_url_with_unknown_scheme_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="unsupported scheme") as refusal:
        await open_events(url)
    assert "HOWDAH_EVENTS_URL" in refusal.value.message
    assert "secret" not in str(refusal.value)


def test_backlog_merges_equal_events() -> None:
    backlog = Backlog(capacity=4)
    for payload in ["a", "b", "a"]:
        backlog.add(Event("t", payload))
    assert backlog.take(9) == [Event("t", "a"), Event("t", "b")]
    backlog.add(Event("t", "a"))
    assert backlog.take(9) == [Event("t", "a")]


def test_backlog_that_is_full_shrinks_by_topic() -> None:
    backlog = Backlog(capacity=3)
    for topic, payload in [("t", "1"), ("t", "2"), ("u", "3"), ("v", "4")]:
        backlog.add(Event(topic, payload))
    assert backlog.take(9) == [
        Event("t", missed=True),
        Event("u", missed=True),
        Event("v", "4"),
    ]


def test_backlog_full_of_topics_shrinks_to_all_topics() -> None:
    backlog = Backlog(capacity=3)
    for topic in "tuvwx":
        backlog.add(Event(topic))
    assert backlog.take(9) == [Event(EVERY_TOPIC, missed=True)]


def test_backlog_returns_requeued_events_first() -> None:
    backlog = Backlog(capacity=9)
    for payload in "abc":
        backlog.add(Event("t", payload))
    taken = backlog.take(2)
    backlog.add(Event("t", "a"))
    backlog.put_back(taken)
    assert [event.payload for event in backlog.take(9)] == ["a", "b", "c"]


async def test_backlog_of_all_topics_wakes_every_subscriber(open_bus: OpenBus) -> None:
    one, other = await open_bus(), await open_bus()
    async with other.subscribe("run:1") as first, other.subscribe("run:2") as second:
        for number in range(UNSENT_LIMIT + 1):
            await one.publish(f"task:{number}")
        assert await receive(first, 1) == [Event("run:1", missed=True)]
        assert await receive(second, 1) == [Event("run:2", missed=True)]


async def test_read_until_reads_after_each_event_until_the_deadline(open_bus: OpenBus) -> None:
    bus, loop = await open_bus(), asyncio.get_running_loop()
    reads: list[int] = []

    async def read() -> int:
        reads.append(len(reads))
        await bus.publish("run:1")
        return reads[-1]

    async with bus.subscribe("run:1") as subscription:
        assert (
            await subscription.read_until((2).__eq__, read, deadline=loop.time() + PATIENCE_S) == 2
        )
        assert await subscription.read_until((2).__eq__, read, deadline=loop.time()) == 3
