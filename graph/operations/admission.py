"""Admission: shares the event loop and the database between the users who want them.

A user alone may have as much work in progress as is useful. While several users are active, each
may have as much as delays the others by less than a millisecond. Decision 0033 has the reasons.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable

from db.client_networks import network_of
from db.concurrency.fair_slots import FairSlots, Share
from db.concurrency.held_bytes import HeldBytes
from db.distributions import Distribution
from db.postgres.engine import Database
from db.postgres.gathering.gatherer import SPARE_CONNECTIONS
from graph.context import Context

MAX_ANONYMOUS_CONCURRENCY = 8
MAX_URGENT_CONCURRENCY = 2
MAX_WAITING = 2_000  # a page that reconnects may open a thousand subscriptions at once
ACTIVE_S = 0.25
"""A user counts as active for this time, at most for twice this time."""
UNIT_S = 0.000_05
"""Time that one unit of work takes, of this process or the database."""
SMALL = 2
"""Units of a small operation."""
UNIT_FIELDS = 200
"""Requested fields that take one unit more."""
ALONE_UNITS = 160
"""Work that a user alone may have in progress, besides what waits for a distant database."""
SHARED_UNITS = 5
"""The same while other users are active: two small operations, or a heavy and a small one.

A request passes about eight iterations of the event loop, each as long as what others do in it.
"""
SHARED_TRIPS = 0.7
"""While other users are active, work that waits for a distant database, in round trips."""
SHARED_READS = 4
"""The connections that reads of one user occupy while other users are active."""
HELD_BYTES = 256 * 2**20
"""Long texts and rows of runs that the running operations of one user hold: an operation may read
64 MiB of them and costs no more work than a small one."""
TOTAL_HELD_BYTES = 1024 * 2**20
"""The same of all users of a process: above it, each user may hold an equal part."""
PAUSE_FACTOR = 2.0
"""The pause before the next document of the same sender, as a multiple of the preparation time."""


class Presence:
    """Which users were active in the last one to two windows of ACTIVE_S.

    Probes and urgent operations do not count: they have slots of their own and are small.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = 0.0
        self._before: set[Hashable] = set()
        self._now: set[Hashable] = set()

    def see(self, user: Hashable) -> None:
        self._move_window()
        self._now.add(user)

    @property
    def is_alone(self) -> bool:
        """Whether at most one user was active."""
        self._move_window()
        if len(self._now) > 1 or len(self._before) > 1:
            return False
        return len(self._now | self._before) <= 1

    def _move_window(self) -> None:
        now = self._clock()
        if now >= self._ends_at:
            self._before = self._now if now < self._ends_at + ACTIVE_S else set()
            self._now, self._ends_at = set(), now + ACTIVE_S


class Slot:
    """Permits one operation to run. Released when the operation ends, or earlier."""

    __slots__ = ("_admission", "_bytes", "_held", "_is_closed", "_slots", "_user", "_weight")

    def __init__(
        self, admission: "Admission", slots: FairSlots, user: Hashable, weight: int
    ) -> None:
        self._admission = admission
        self._slots = slots
        self._user = user
        self._weight = weight
        self._held = True
        self._bytes = 0
        self._is_closed = False

    def end(self) -> None:
        """Let the next operation run. Idempotent."""
        if self._held:
            self._held = False
            self._slots.release(self._user, self._weight)

    def close(self) -> None:
        """Call when the operation has ended and its result is encoded. Idempotent."""
        self.end()
        self._is_closed = True
        self.free()

    def require_room(self) -> None:
        """Call before a read that may be large.

        Raises:
            Overloaded: the operations of the user hold too much.
        """
        self._admission.results.require_room(self._user)

    def hold(self, size: int) -> None:
        """Count the bytes of a read until `free`."""
        if not self._is_closed:  # a batch of a loader can outlive its operation
            self._bytes += size
            self._admission.results.add(self._user, size)

    def free(self) -> None:
        if self._bytes:
            self._admission.results.release(self._user, self._bytes)
            self._bytes = 0

    @property
    def read_share(self) -> Share:
        """Hold this during a statement that occupies a connection."""
        return self._admission.reads.of(self._user)

    @property
    def large_read_share(self) -> Share:
        """Hold this during a read of many rows."""
        return self._admission.large_reads.of(self._user)


class Admission:
    """What each user, or each network of anonymous clients, may do at once."""

    def __init__(self, presence: Presence | None = None) -> None:
        self._presence = presence or Presence()
        self._database: Database | None = None
        self._operations = FairSlots(
            "operations", of_one_user=self._work_of_one_user, max_waiting=MAX_WAITING
        )
        self._anonymous = _limited(MAX_ANONYMOUS_CONCURRENCY)
        self._urgent = _limited(MAX_URGENT_CONCURRENCY)
        self._documents = _limited(1)
        self.reads = FairSlots("reads", of_one_user=self._reads_of_one_user)
        self.large_reads = FairSlots("reads", of_one_user=self._large_reads_of_one_user)
        self.results = HeldBytes("results", of_one_user=HELD_BYTES, total=TOTAL_HELD_BYTES)
        self.waits = Distribution()
        """Seconds that operations waited for a slot, of those for which none was free."""

    @property
    def users(self) -> int:
        """The users, and networks of anonymous clients, with an operation in progress."""
        return sum(slots.users for slots in (self._operations, self._anonymous, self._urgent))

    @property
    def users_waiting(self) -> int:
        kinds = (self._operations, self._anonymous, self._urgent)
        return sum(slots.users_waiting for slots in kinds)

    @contextlib.asynccontextmanager
    async def document(self, context: Context) -> AsyncIterator[None]:
        """Hold this while preparing a document, which blocks the loop for milliseconds.

        Raises:
            RateLimited: the queue of the sender is full.
        """
        sender = _user_of(context)
        if context.viewer is not None:
            self._presence.see(sender)
        await self._documents.acquire(sender)
        began = time.perf_counter()
        try:
            await asyncio.sleep(0)  # requests that arrived at the same time can queue
            yield
        finally:
            if self._is_alone:
                self._documents.release(sender)
            else:
                pause_s = (time.perf_counter() - began) * PAUSE_FACTOR
                asyncio.get_running_loop().call_later(pause_s, self._documents.release, sender)

    async def slot(self, context: Context, *, cost: int = 0, urgent: bool = False) -> Slot:
        """Wait for a slot, and store it in the context, so that resolvers can release it early.

        Raises:
            RateLimited: the queue of the user is full.
        """
        user, slots, weight = _user_of(context), self._operations, 1
        if context.viewer is None:
            slots = self._anonymous  # the network may be that of a proxy with many clients
        elif urgent:
            slots = self._urgent
        else:
            self._presence.see(user)
            self._database = context.services.database
            weight = SMALL
            if cost >= UNIT_FIELDS:  # a small one fits beside it
                heaviest = max(SMALL, self._work_of_one_user() - SMALL)
                weight = min(SMALL + cost // UNIT_FIELDS, heaviest)
        if not slots.take(user, weight):
            began = time.perf_counter()
            await slots.acquire(user, weight)
            self.waits.add(time.perf_counter() - began)
        context.slot = slot = Slot(self, slots, user, weight)
        return slot

    @property
    def _is_alone(self) -> bool:
        return self._operations.users <= 1 and self._presence.is_alone

    def _work_of_one_user(self) -> int:
        """Units of work. Operations that wait for a distant database occupy nothing."""
        round_trip_s = self._database.round_trip_s if self._database is not None else 0.0
        if self._is_alone:
            return ALONE_UNITS + int(2 * round_trip_s / UNIT_S)
        work = max(SHARED_UNITS, int(SHARED_TRIPS * round_trip_s / UNIT_S))
        return work // max(1, self._operations.users_waiting)

    def _reads_of_one_user(self) -> int:
        if self._database is None:
            return MAX_ANONYMOUS_CONCURRENCY
        size = self._database.size
        if self._is_alone:
            return size - SPARE_CONNECTIONS
        reads = max(SHARED_READS, min(2 * self._database.concurrency, size * 3 // 4))
        return reads // max(1, self.reads.users_waiting)

    def _large_reads_of_one_user(self) -> int:
        if self._database is None or not self._is_alone:
            return 1
        return self._database.concurrency


def _limited(at_once: int) -> FairSlots:
    return FairSlots("operations", of_one_user=lambda: at_once, max_waiting=MAX_WAITING)


def _user_of(context: Context) -> Hashable:
    viewer = context.viewer
    if viewer is None:
        return network_of(context.client_address)
    return viewer.id.int  # a UUID computes its hash in Python, six times for an operation
