"""`CatalogueCache`, which keeps the snapshots of the databases that are in use (decision 0048)."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID, uuid4

from db.concurrency.fair_slots import FairSlots
from db.concurrency.waiting import SharedTasks, in_background
from db.connections import ConnectionRow, Connections
from db.errors import NotFound
from db.events import EventBus, Subscription
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.workbench.catalogue.fetching import read_catalogue
from db.workbench.catalogue.snapshot import CatalogueSnapshot, ReadSnapshot, read_snapshot
from db.workbench.connections.pools.disconnects import TOPIC as CLOSED
from db.workbench.connections.workbench import Workbench

CHANGED = "connections:catalogue"
"""The topic of catalogues that have changed, with the IDs of the connection and the sender."""
TIMEOUT_S = 15.0
MAX_SNAPSHOT_BYTES = 32 * 1024 * 1024
"""The limit of the rows of each statement for a snapshot, as JSON; columns have most."""
MAX_SNAPSHOTS = 256
LOADS_AT_ONCE = 2
"""A load may hold the rows of four statements besides the snapshots that are kept."""
LOADS_PER_USER = 1
"""Databases of one user that do not answer do not hold up the loads of others."""
EXPIRY_CHECK_S = 30.0


class CacheLimits(NamedTuple):
    """Limits of one process, set by the operator."""

    max_age_s: float = 300.0
    max_bytes: int = 128 * 1024 * 1024


class _Version(NamedTuple):
    """Whose snapshot it is: another owner or other credentials may see other objects."""

    owner: OwnerId
    generation: tuple[int, int, int]


class _Kept(NamedTuple):
    version: _Version
    read: ReadSnapshot
    expires_at: float


class _Load(NamedTuple):
    connection_id: UUID
    version: _Version


class CatalogueCache:
    """Keeps one snapshot for each saved connection; the least recently used is dropped first.

    A snapshot is read again when it is too old, when one of our own runs on its connection has
    changed the catalogue, when a client asks for it, and when the saved connection has changed.
    Every use reads the row of the connection with the owner as a condition.
    """

    def __init__(
        self,
        database: Database,
        workbench: Workbench,
        events: EventBus,
        limits: CacheLimits = CacheLimits(),  # noqa: B008 - immutable
    ) -> None:
        self._database = database
        self._workbench = workbench
        self._events = events
        self._limits = limits
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._loads = SharedTasks[_Load, ReadSnapshot]("catalogue: snapshot")
        self._slots = FairSlots(
            "catalogues to read", total=LOADS_AT_ONCE, of_one_user=lambda: LOADS_PER_USER
        )
        self._process = uuid4().hex

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        database: Database,
        workbench: Workbench,
        events: EventBus,
        limits: CacheLimits = CacheLimits(),  # noqa: B008 - immutable
    ) -> AsyncIterator["CatalogueCache"]:
        """Drops what other processes announce as changed, until the block ends."""
        cache = cls(database, workbench, events, limits)
        async with (
            events.subscribe(CHANGED) as changed,
            in_background(cache._follow(changed), name="catalogue: changed"),
            events.subscribe(CLOSED) as closed,
            in_background(cache._follow(closed), name="catalogue: closed"),
        ):
            try:
                yield cache
            finally:
                await cache._loads.close()

    @property
    def size(self) -> int:
        """Bytes of all snapshots, approximately."""
        return sum(kept.read.size for kept in self._kept.values())

    async def snapshot(self, owner: OwnerId, connection_id: UUID) -> CatalogueSnapshot:
        """Returns the snapshot that is kept, or reads it. Concurrent callers share one read.

        Raises:
            NotFound: The owner has no such connection.
            TimedOut: The database did not return its catalogue in time.
        """
        version = _Version(owner, (await self._require_row(owner, connection_id)).generation)
        kept = self._kept.get(connection_id)
        if kept is not None and kept.version == version and _now() < kept.expires_at:
            self._kept.move_to_end(connection_id)
            return kept.read.snapshot
        load = _Load(connection_id, version)
        if load not in self._loads.keys:
            self._drop(connection_id)  # also a load of an earlier version
        return (await self._loads.run(load, lambda: self._load(load))).snapshot

    async def mark_changed(self, connection_id: UUID) -> None:
        """The next use at any replica reads the catalogue again."""
        self._drop(connection_id)
        await self._events.publish(CHANGED, f"{connection_id.hex} {self._process}")

    async def _load(self, load: _Load) -> ReadSnapshot:
        connection_id, version = load
        async with (
            self._slots.of(version.owner),
            self._workbench.lend(version.owner, connection_id) as connection,
        ):
            read = await read_catalogue(
                connection, read_snapshot, TIMEOUT_S, max_bytes=MAX_SNAPSHOT_BYTES
            )
        if self._loads.is_current(load):  # else the catalogue has changed since the load began
            self._keep(connection_id, version, read)
        return read

    def _keep(self, connection_id: UUID, version: _Version, read: ReadSnapshot) -> None:
        self._kept[connection_id] = _Kept(version, read, _now() + self._limits.max_age_s)
        self._kept.move_to_end(connection_id)
        while self._kept and (
            len(self._kept) > MAX_SNAPSHOTS or self.size > self._limits.max_bytes
        ):
            self._kept.popitem(last=False)

    def _drop(self, connection_id: UUID) -> None:
        """Callers that wait for a load in progress get its result, which is not kept."""
        self._kept.pop(connection_id, None)
        for load in self._loads.keys:
            if load.connection_id == connection_id:
                self._loads.forget(load)

    def _drop_expired(self) -> None:
        now = _now()
        for connection_id in [one for one, kept in self._kept.items() if kept.expires_at <= now]:
            del self._kept[connection_id]

    async def _require_row(self, owner: OwnerId, connection_id: UUID) -> ConnectionRow:
        try:
            async with self._database.read() as session:
                return await Connections(session, owner).require(connection_id)
        except NotFound:
            kept = self._kept.get(connection_id)
            if kept is not None and kept.version.owner == owner:
                self._drop(connection_id)
            raise

    async def _follow(self, announcements: Subscription) -> None:
        while not announcements.has_ended:
            event = await announcements.next_within(EXPIRY_CHECK_S)
            if event is None:
                self._drop_expired()
            elif event.missed:
                for connection_id in [
                    *self._kept,
                    *(one.connection_id for one in self._loads.keys),
                ]:
                    self._drop(connection_id)
            else:
                changed, _, process = event.payload.partition(" ")
                if process != self._process:  # what this process has announced is dropped already
                    with contextlib.suppress(ValueError):  # of another version of the server
                        self._drop(UUID(hex=changed))


def _now() -> float:
    return asyncio.get_running_loop().time()
