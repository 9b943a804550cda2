"""GraphQL types of the health of the server."""

import time
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import strawberry

from db.system.health import DatabaseProbe
from db.system.integrity import Integrity
from db.version import __version__
from graph.context import Info
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.scalars import BigInt

_STARTED_AT = time.monotonic()


@graphql_enum(
    "Overall state of a server.",
    OK="All parts of the server are working.",
    DEGRADED="Requests are served, but the event bus or the object store does not respond, a disk "
    "is full, the database does not accept changes, or the settings differ from those of another "
    "replica. `findings` names the fault.",
    DOWN="The database does not respond or has missing migrations.",
)
class HealthStatus(StrEnum):
    OK = "OK"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"


class ComponentStatus(NamedTuple):
    """The kind is None unless the viewer is an admin."""

    ok: bool
    kind: str | None


class HealthRow(NamedTuple):
    """The details are None unless the viewer is an admin."""

    status: HealthStatus
    database: DatabaseProbe
    events: ComponentStatus
    findings: list[str] | None


@strawberry.type(description="State of the database in which Howdah stores its own data.")
class DatabaseStatus:
    ok: bool = attribute("True if the database responded within one second.")
    version: str | None = attribute("PostgreSQL version. Null unless the viewer is an admin.")
    latency_ms: float | None = attribute(
        "Time a minimal query took, in milliseconds. Null unless the viewer is an admin."
    )
    migrations_current: bool | None = attribute(
        "True if all migrations are applied. Null unless the viewer is an admin."
    )


@strawberry.type(description="State of the event bus, which carries events between replicas.")
class EventsStatus:
    ok: bool = attribute(
        "True if the event bus is working. If false, subscriptions fall back to polling."
    )
    kind: str | None = attribute(
        "Backend: `postgres`, `redis` or `nats`. Null unless the viewer is an admin."
    )


@strawberry.type(description="State of the object store, which stores the bytes of files.")
class ObjectsStatus:
    ok: bool = attribute(
        "True if the object store responded within one second and has free space. The result is "
        "cached for a few seconds."
    )
    kind: str | None = attribute(
        "Backend: `file`, `s3`, `gs` or `az`. Null unless the viewer is an admin."
    )


@strawberry.type(description="State of this server and the systems it depends on.")
class Health:
    status: HealthStatus = attribute("Overall state.")
    database: DatabaseProbe = attribute("State of the database.", type=DatabaseStatus)
    events: ComponentStatus = attribute("State of the event bus.", type=EventsStatus)
    findings: list[str] | None = attribute(
        "Present faults, and problems found since the server started. Null unless the viewer is "
        "an admin."
    )

    @field("State of the object store.", type=ObjectsStatus)
    async def objects(self, info: Info) -> ComponentStatus:
        objects, viewer = info.context.services.objects, info.context.viewer
        details = viewer is not None and viewer.is_admin
        return ComponentStatus(await objects.answers(), objects.kind if details else None)

    @field("Version of Howdah.")
    def version() -> str:
        return __version__

    @field("Time this process has been running, in seconds.")
    def uptime_seconds() -> int:
        return int(time.monotonic() - _STARTED_AT)


@strawberry.type(description="Condition of the database, as found by the last `checkDatabase`.")
class DatabaseHealth:
    ok: bool = attribute("True if no damage is known.")
    checksums: bool = attribute("True if PostgreSQL data checksums are enabled.")
    corrupt_relations: list[str] = attribute("Names of damaged tables and indexes.")
    size_bytes: BigInt = attribute("Size of the database in bytes.")
    last_checked_at: datetime | None = attribute(
        "Time the last `checkDatabase` completed on any replica. Null if it never has."
    )
    findings: list[str] = attribute(
        "Descriptions of the damage found and of checks that could not be run."
    )


@strawberry.type(description="Payload of `checkDatabase`.")
class CheckDatabasePayload:
    database_health: Integrity = attribute(
        "Condition of the database after the check.", type=DatabaseHealth
    )
