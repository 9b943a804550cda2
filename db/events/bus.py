"""The event bus over any transport: batching, fan-out, heartbeats and reconnects."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import msgspec

from db.concurrency.waiting import Backoff, cancel_all, start_background, wait_up_to
from db.distributions import Distribution
from db.errors import Unavailable
from db.events.backlog import Backlog, Event
from db.events.frames import fits, pack, unpack
from db.events.subscription import Subscription, Subscriptions
from db.events.watch import Watches

log = logging.getLogger(__name__)

Receive = Callable[[str], None]
Send = Callable[[Sequence[str]], Awaitable[object]]
OpenLink = Callable[[Receive], AbstractAsyncContextManager[Send]]
"""Opens a link. Every listening process, the sender included, receives each frame in order."""

BATCH_LIMIT = 500
UNSENT_LIMIT = 4_096

# A silent link is detected within HEARTBEAT_S + ECHO_TIMEOUT_S, and while the bus is down readers
# are woken every POLL_S: either way a change is seen within the promised two seconds.
HEARTBEAT_S = 1.0
ECHO_TIMEOUT_S = 0.75
POLL_S = 1.5

OPEN_S = 2.0
CLOSE_S = 1.0
BACKOFF = Backoff(first_s=0.05, longest_s=1.0)


class EventBus:
    """Wakes readers in all processes when something they follow has changed.

    Events hold no data; readers query the database when they are woken.
    Publishing never delays or fails the change it announces. While a process lives, each of its
    events arrives in order, at least once, or else as `missed`; while the bus is down, every
    reader gets `missed` periodically, which makes it poll.
    """

    def __init__(self, kind: str, open_link: OpenLink) -> None:
        self.kind = kind
        self.watches = Watches(self.subscribe)
        self._open_link = open_link
        self._subscriptions = Subscriptions()
        self._unsent = Backlog(capacity=UNSENT_LIMIT)
        self._heartbeat = Event(f"heartbeat:{uuid4()}")
        self._expected = ""
        self._returned = asyncio.Event()
        self._up = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.lags = Distribution()
        """Seconds until what was sent returned."""
        self.outages = 0

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    @property
    def is_up(self) -> bool:
        """True if the last heartbeat returned."""
        return self._up.is_set()

    @property
    def readers(self) -> int:
        return self._subscriptions.count

    async def open(self) -> None:
        """Starts to connect and waits up to OPEN_S: a server also starts without its bus."""
        self._tasks = [
            start_background(self._stay_connected(), name="events: link"),
            start_background(self._poll_while_down(), name="events: poll"),
        ]
        if not await wait_up_to(OPEN_S, self._up.wait()):
            log.warning(
                "The %s event bus is not available yet; readers poll until it is", self.kind
            )

    async def close(self) -> None:
        """Flushes unsent events if the link is up, then ends every subscription."""
        self._closing = True
        self._unsent.wake()
        if self._up.is_set():
            await asyncio.wait(self._tasks[:1], timeout=CLOSE_S)
        await cancel_all(self._tasks)
        self._up.clear()
        self._subscriptions.end()

    async def publish(self, topic: str, payload: str = "") -> None:
        """Announces a committed change. Does not wait for the bus and does not fail with it."""
        event = Event(topic, payload)
        self._unsent.add(event if fits(event) else Event(topic, missed=True))

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Subscription]:
        """Subscribes to a topic. Read the database after entering: later changes are delivered."""
        subscription = Subscription(topic)
        with self._subscriptions.joined(subscription):
            if self._closing:
                subscription.end()
            yield subscription

    async def ping(self) -> None:
        """Raises `Unavailable` unless the last heartbeat returned."""
        if not self.is_up:
            raise Unavailable(
                f"The {self.kind} event bus does not respond.",
                hint="Check the server of HOWDAH_EVENTS_URL; behind a pooler, set "
                "HOWDAH_DIRECT_DATABASE_URL. Until then updates take up to two seconds.",
            )

    async def _stay_connected(self) -> None:
        pauses = BACKOFF.pauses()
        while not self._closing:
            try:
                async with self._open_link(self._receive) as send:
                    await self._send_heartbeat(send)
                    pauses = BACKOFF.pauses()
                    self._mark_up()
                    await self._pump(send)
            except Exception as error:  # noqa: BLE001 - any error is handled by reconnecting
                self._mark_down(error)
                await asyncio.sleep(next(pauses))

    def _mark_up(self) -> None:
        self._up.set()
        self._subscriptions.mark_missed()
        log.info("The %s event bus is up", self.kind)

    def _mark_down(self, error: Exception) -> None:
        if self._up.is_set():
            while isinstance(error, ExceptionGroup):  # of the tasks of a link
                error = error.exceptions[0]
            # The type alone: a driver's message may quote the URL and its password.
            log.warning("The %s event bus is down (%s)", self.kind, type(error).__name__)
            self._up.clear()
            self.outages += 1
            self._subscriptions.mark_missed()

    async def _pump(self, send: Send) -> None:
        while not self._closing or self._unsent:
            await wait_up_to(HEARTBEAT_S, self._unsent.wait())
            if self._unsent:
                await self._send_batch(send)
            elif not self._closing:
                await self._send_heartbeat(send)

    async def _send_batch(self, send: Send) -> None:
        batch = self._unsent.take(BATCH_LIMIT)
        try:
            await self._send_and_confirm(send, batch)
        except BaseException:
            self._unsent.put_back(batch)
            raise

    async def _send_heartbeat(self, send: Send) -> None:
        await self._send_and_confirm(send, [self._heartbeat])

    async def _send_and_confirm(self, send: Send, batch: Sequence[Event]) -> None:
        """Sends a batch and waits for its last frame to return, which proves both directions."""
        frames = pack(batch)
        self._expected = frames[-1]
        self._returned.clear()
        began = time.perf_counter()
        async with asyncio.timeout(ECHO_TIMEOUT_S):
            await send(frames)
            await self._returned.wait()
        self.lags.add(time.perf_counter() - began)

    def _receive(self, frame: str) -> None:
        if frame == self._expected:
            self._returned.set()
        try:
            events = unpack(frame)
        except msgspec.DecodeError:
            log.warning("Ignored an invalid event on the %s bus", self.kind)
            return
        for event in events:
            self._subscriptions.deliver(event)

    async def _poll_while_down(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if not self._up.is_set():
                self._subscriptions.mark_missed()
