"""Checks of Howdah's own database, what is in front of it, and its standbys."""

from collections.abc import AsyncIterator

from db.errors import HowdahError
from db.models import metadata
from db.own_database import OwnDatabase, standby_urls
from db.postgres.route.pooling import NO_DIRECT_URL, is_url_pooled
from db.postgres.route.urls import parse_url
from db.postgres.schema import migrations
from db.postgres.schema.rights import find_missing_rights
from db.postgres.standbys import examine_standbys
from db.settings import Settings
from db.system.health import probe_database
from db.workbench.connections.pgbouncer import read_pgbouncer_settings
from graph.commands.doctor.findings import CheckState, Finding, broken

TESTED_VERSIONS = (17, 18)
"""Major versions of PostgreSQL with which the tests run: Howdah's own database, and targets."""
MAX_LOGIN_RETRY_S = 3
MIGRATED_TABLES = ("alembic_version", *metadata.tables)


async def check_database(own: OwnDatabase) -> AsyncIterator[Finding]:
    status = await probe_database(own.database)
    if not status.ok:
        hint = "Check its log, its load and the network."
        message = "The database did not respond within one second."
        yield Finding(CheckState.BROKEN, "database", message, hint)
        return
    message = f"PostgreSQL {status.version} responded in {status.latency_ms:.1f} ms."
    yield Finding(CheckState.OK, "database", message)
    if (note := untested_version(status.version or "")) is not None:
        yield note
    for message in own.embedded.findings if own.embedded else ():
        yield Finding(CheckState.ATTENTION, "database", message)
    if status.newer_revision is not None:
        hint = "Update this Howdah too. Until then it continues to work."
        yield Finding(CheckState.ATTENTION, "migrations", status.findings[0], hint)
    elif status.migrations_current:
        yield Finding(CheckState.OK, "migrations", f"The database is at {migrations.head()}.")
    else:
        hint = "Run `howdah migrate`; `howdah serve` also does so when it starts."
        message = f"The database is not at {migrations.head()}."
        yield Finding(CheckState.ATTENTION, "migrations", message, hint)
    if own.embedded is None:
        async for finding in _check_rights(own, are_pending=not status.serves):
            yield finding


async def _check_rights(own: OwnDatabase, *, are_pending: bool) -> AsyncIterator[Finding]:
    """Whether the user of the direct URL may migrate."""
    try:
        for missing in await find_missing_rights(own.direct_url, MIGRATED_TABLES):
            state = CheckState.BROKEN if are_pending else CheckState.ATTENTION
            yield Finding(state, "migrations", missing, migrations.NOT_PERMITTED_HINT)
    except HowdahError as error:
        yield broken("migrations", error)


def untested_version(version: str) -> Finding | None:
    """A note about a `server_version` whose major version the tests do not run with."""
    if version.split(".", 1)[0].split()[:1] in [[str(major)] for major in TESTED_VERSIONS]:
        return None
    tested = " and ".join(map(str, TESTED_VERSIONS))
    hint = "Use one of these versions, or try this one with a copy of your database first."
    message = f"Howdah is tested with PostgreSQL {tested}, not with {version}."
    return Finding(CheckState.ATTENTION, "database", message, hint)


async def check_pooler(own: OwnDatabase, url: str) -> AsyncIterator[Finding]:
    """What is in front of the database, by its behaviour."""
    target, direct = parse_url(url), parse_url(own.direct_url)
    if not await is_url_pooled(target, probe=True):
        message = "No pooler in transaction mode is in front of the database."
        hint = "Add pgbouncer=false to HOWDAH_DATABASE_URL to keep statements prepared."
        yield Finding(CheckState.OK, "pooler", message, hint if own.database.is_pooled else "")
        return
    if not own.database.is_pooled:
        message = "The database is behind a pooler in transaction mode."
        hint = "Remove pgbouncer=false from HOWDAH_DATABASE_URL."
        yield Finding(CheckState.BROKEN, "pooler", message, hint)
    elif direct.hosts == target.hosts or await is_url_pooled(direct, probe=True):
        hint = "Set it to the address of the database itself, and HOWDAH_EVENTS_URL if it has none."
        yield Finding(CheckState.ATTENTION, "pooler", f"{NO_DIRECT_URL}.", hint)
    else:
        message = "HOWDAH_DIRECT_DATABASE_URL bypasses the pooler in transaction mode."
        yield Finding(CheckState.OK, "pooler", message)
    yield await _login_retry(target.dsn)


async def _login_retry(dsn: str) -> Finding:
    retry_s = (await read_pgbouncer_settings(dsn)).get("server_login_retry")
    if retry_s is None:
        message = "The pooler does not show its settings. PgBouncer needs server_login_retry = 1."
        return Finding(CheckState.OK, "pooler", message)
    if float(retry_s) <= MAX_LOGIN_RETRY_S:
        return Finding(CheckState.OK, "pooler", f"PgBouncer has server_login_retry = {retry_s}.")
    message = f"After an outage PgBouncer refuses clients for {retry_s} s (server_login_retry)."
    hint = "Set server_login_retry = 1 in pgbouncer.ini."
    return Finding(CheckState.ATTENTION, "pooler", message, hint)


async def check_standbys(settings: Settings, own: OwnDatabase) -> AsyncIterator[Finding]:
    subject = "standbys"
    async for found in examine_standbys(standby_urls(settings), own.database):
        if found.fault is not None:
            hint = "Correct HOWDAH_READ_DATABASE_URLS. Until then the primary answers its queries."
            yield Finding(CheckState.ATTENTION, subject, found.fault, hint)
        elif found.is_late:
            message = f"The standby at {found.place} is {found.lag_bytes:,} bytes behind."
            hint = "Check that it receives changes and replays them: it is not read while it lags."
            yield Finding(CheckState.ATTENTION, subject, message, hint)
        else:
            hint = "Set hot_standby_feedback = on there, or its long reads may be cancelled."
            message = f"The standby at {found.place} can be read."
            yield Finding(CheckState.OK, subject, message, hint if found.cancels_reads else "")
