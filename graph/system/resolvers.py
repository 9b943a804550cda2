"""Queries and mutations of the health of the server."""

import strawberry

from db.kit.audit import AuditKind, recording_outcome
from db.services import Services
from db.system.condition import examine
from db.system.health import DatabaseProbe
from db.system.integrity import Integrity
from graph.auth import AdminOnly, Anyone
from graph.context import Info
from graph.kit.fields import field, mutation, query
from graph.system.types import (
    CheckDatabasePayload,
    ComponentStatus,
    DatabaseHealth,
    Health,
    HealthRow,
    HealthStatus,
)


@strawberry.type
class Query:
    @query(
        "State of this server. Available without signing in; details require the `ADMIN` role.",
        who=Anyone,
        type=Health,
    )
    async def health(self, info: Info) -> HealthRow:
        viewer = info.context.viewer
        return await _health(info.context.services, details=viewer is not None and viewer.is_admin)

    @field(
        "Condition of the database, as found by the last `checkDatabase`. "
        "Requires the `ADMIN` role.",
        who=AdminOnly,
        type=DatabaseHealth | None,
    )
    async def database_health(self, info: Info) -> Integrity:
        services = info.context.services
        return await services.checks.state(services.database)

    @field(
        "Path of the directory with the log files on the server. Requires the `ADMIN` role.",
        who=AdminOnly,
        type=str | None,
    )
    def log_directory(self, info: Info) -> str:
        return str(info.context.services.settings.log_dir)


@strawberry.type
class Mutation:
    @mutation(
        "Reads the whole database and checks it for damage. Requires the `ADMIN` role.",
        who=AdminOnly,
    )
    async def check_database(self, info: Info) -> CheckDatabasePayload:
        services = info.context.services
        async with recording_outcome(services.database, AuditKind.DATABASE_CHECKED) as event:
            await services.checks.run(services.database)
            health = await services.checks.state(services.database)
            event.details["ok"] = health.ok
        return CheckDatabasePayload(database_health=health)


async def _health(services: Services, *, details: bool) -> HealthRow:
    database, faults = await examine(services)
    if not database.serves:
        status = HealthStatus.DOWN
    else:
        status = HealthStatus.DEGRADED if faults else HealthStatus.OK
    findings = (*faults, *services.findings, *database.findings)
    return HealthRow(
        status=status,
        database=database if details else DatabaseProbe(ok=database.ok),
        events=ComponentStatus(
            ok=services.events.is_up, kind=services.events.kind if details else None
        ),
        findings=list(findings) if details else None,
    )
