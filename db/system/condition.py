"""What works in this server and what does not, by name."""

import asyncio
from typing import NamedTuple, Protocol

from db.errors import HowdahError
from db.events import EventBus
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.postgres.standbys import Standbys
from db.replicas import Heartbeat
from db.replicas.fingerprints import find_differences
from db.system.health import PROBE_S, DatabaseProbe, probe_database


class ServerParts(Protocol):
    """The services that are examined."""

    @property
    def database(self) -> Database: ...
    @property
    def events(self) -> EventBus: ...
    @property
    def objects(self) -> ObjectStore: ...
    @property
    def standbys(self) -> Standbys | None: ...
    @property
    def heartbeat(self) -> Heartbeat | None: ...


class Condition(NamedTuple):
    database: DatabaseProbe
    faults: tuple[str, ...]
    """What does not work while most requests are served. They name no host and no value."""


async def examine(server: ServerParts) -> Condition:
    """Takes about a second at most, and opens one connection at a time."""
    database, store_fault = await asyncio.gather(
        probe_database(server.database), server.objects.find_fault()
    )
    faults = [store_fault] if store_fault else []
    if not server.events.is_up:
        faults.append("The event bus does not respond.")
    if database.serves and server.standbys is not None:
        faults += server.standbys.faults
    if database.serves and server.heartbeat is not None:
        if server.heartbeat.is_failing:
            faults.append("The database does not accept changes.")
        faults += await _differences(server.database, server.heartbeat)
    return Condition(database, tuple(faults))


async def _differences(database: Database, heartbeat: Heartbeat) -> list[str]:
    try:
        async with asyncio.timeout(PROBE_S):
            found = await find_differences(database, heartbeat.fingerprints)
    except (HowdahError, OSError, TimeoutError):
        return []  # the next probe of the database says so
    return [difference.fault for difference in found]
