"""The server's view of itself: whether it is well, and whether its database is."""

import time
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import strawberry

from db.services import Services
from db.system.health import probe_database
from db.system.integrity import Integrity
from db.version import __version__
from graph.auth import AdminOnly, Anyone
from graph.context import Info
from graph.kit.fields import choice, field, mutation, plain, query
from graph.kit.scalars import BigInt

_STARTED_AT = time.monotonic()


@strawberry.enum(description="How well a server is.")
class HealthStatus(Enum):
    """From best to worst."""

    OK = choice("OK", "All of it works.")
    DEGRADED = choice("DEGRADED", "It serves; changes are seen up to two seconds late.")
    DOWN = choice("DOWN", "Its database does not answer, or lacks migrations.")


class DatabaseStatusRow(NamedTuple):
    """The database as this server meets it; details for admins."""

    ok: bool
    version: str | None
    latency_ms: float | None
    migrations_current: bool | None


class EventsStatusRow(NamedTuple):
    """The event bus as this server meets it; details for admins."""

    ok: bool
    kind: str | None


class ObjectsStatusRow(NamedTuple):
    """The object store as this server meets it; details for admins."""

    ok: bool
    kind: str | None


class HealthRow(NamedTuple):
    """A server as it is now; details for admins."""

    status: HealthStatus
    database: DatabaseStatusRow
    events: EventsStatusRow
    findings: list[str] | None


@strawberry.type(description="Our own database, as this server meets it.")
class DatabaseStatus:
    """Read from a DatabaseStatusRow."""

    ok: bool = plain("Whether it answered within a second.")
    version: str | None = plain("PostgreSQL's version; for admins.")
    latency_ms: float | None = plain("How long a small query took; for admins.")
    migrations_current: bool | None = plain("Whether no migration is missing; for admins.")


@strawberry.type(description="What carries events between the replicas.")
class EventsStatus:
    """Read from an EventsStatusRow."""

    ok: bool = plain("Whether it works; without it subscriptions poll.")
    kind: str | None = plain("`postgres`, `redis` or `nats`; for admins.")


@strawberry.type(description="Where the bytes of files are kept.")
class ObjectsStatus:
    """Read from an ObjectsStatusRow."""

    ok: bool = plain("Whether it answered within a second, now or a few seconds ago.")
    kind: str | None = plain("`file`, `s3`, `gs` or `az`; for admins.")


@strawberry.type(description="How well this server is.")
class Health:
    """Read from a HealthRow."""

    status: HealthStatus = plain("All in one word.")
    database: DatabaseStatusRow = plain("Our own database.", type=DatabaseStatus)
    events: EventsStatusRow = plain("The event bus.", type=EventsStatus)
    findings: list[str] | None = plain("What was unusual since the start; for admins.")

    @field("Where the bytes of files are kept; looked at only when asked for.", type=ObjectsStatus)
    async def objects(self, info: Info) -> ObjectsStatusRow:
        objects, viewer = info.context.services.objects, info.context.viewer
        details = viewer is not None and viewer.is_admin
        return ObjectsStatusRow(await objects.answers(), objects.kind if details else None)

    @field("The version of Howdah.")
    def version() -> str:
        return __version__

    @field("How long this process has been running.")
    def uptime_seconds() -> int:
        return int(time.monotonic() - _STARTED_AT)


@strawberry.type(description="Whether the database is whole, as far as it is known.")
class DatabaseHealth:
    """Read from an Integrity."""

    ok: bool = plain("Whether no damage is known.")
    checksums: bool = plain("Whether PostgreSQL keeps a checksum of every page.")
    corrupt_relations: list[str] = plain("The tables and indexes that are damaged.")
    size_bytes: BigInt = plain("The size of the whole database.")
    last_checked_at: datetime | None = plain(
        "When checkDatabase last ended, whichever replica it ran on; null when it never has."
    )
    findings: list[str] = plain("What was found, and what could not be checked, in words.")


@strawberry.type(description="The database after its check.")
class CheckDatabasePayload:
    """Holds it."""

    database_health: Integrity = plain("What is known now.", type=DatabaseHealth)


@strawberry.type
class Query:
    """What can be asked."""

    @query(
        "How well this server is. Anyone may ask; the details are for admins.",
        who=Anyone,
        type=Health,
    )
    async def health(self, info: Info) -> HealthRow:
        viewer = info.context.viewer
        return await _health(info.context.services, details=viewer is not None and viewer.is_admin)

    @field("Whether the database is whole; for admins.", who=AdminOnly, type=DatabaseHealth)
    async def database_health(self, info: Info) -> Integrity:
        services = info.context.services
        return await services.checks.state(services.database)

    @field("The folder of the log files, on the server's machine; for admins.", who=AdminOnly)
    def log_directory(self, info: Info) -> str:
        return str(info.context.services.settings.log_dir)


@strawberry.type
class Mutation:
    """What can be changed."""

    @mutation("Reads the whole database and looks for damage, now.", who=AdminOnly)
    async def check_database(self, info: Info) -> CheckDatabasePayload:
        services = info.context.services
        await services.checks.run(services.database)
        return CheckDatabasePayload(database_health=await services.checks.state(services.database))


async def _health(services: Services, *, details: bool) -> HealthRow:
    database = await probe_database(services.database)
    events_ok = services.events.is_up
    if not database.serves:
        status = HealthStatus.DOWN
    else:
        status = HealthStatus.OK if events_ok else HealthStatus.DEGRADED
    findings = (*services.findings, *database.findings)
    return HealthRow(
        status=status,
        database=DatabaseStatusRow(
            ok=database.ok,
            version=database.version if details else None,
            latency_ms=database.latency_ms if details else None,
            migrations_current=database.migrations_current if details else None,
        ),
        events=EventsStatusRow(ok=events_ok, kind=services.events.kind if details else None),
        findings=list(findings) if details else None,
    )
