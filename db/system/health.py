"""The health of Howdah's own database, probed within one second."""

import asyncio
import time
from typing import NamedTuple

from sqlalchemy import text

from db.errors import HowdahError
from db.postgres.engine import Database
from db.postgres.schema import migrations
from db.postgres.statements import compile_statement

PROBE_S = 1.0
_VERSION = compile_statement(text("SHOW server_version"))


class DatabaseProbe(NamedTuple):
    ok: bool
    """Whether the database responded in time."""
    migrations_current: bool | None = None
    newer_revision: str | None = None
    """The revision of the database if a newer Howdah migrated it."""
    version: str | None = None
    latency_ms: float | None = None

    @property
    def serves(self) -> bool:
        return self.ok and bool(self.migrations_current)

    @property
    def findings(self) -> tuple[str, ...]:
        if self.newer_revision is None:
            return ()
        ours, theirs = migrations.head(), self.newer_revision
        return (f"A newer Howdah migrated the database to {theirs}, beyond {ours}.",)


async def probe_database(database: Database) -> DatabaseProbe:
    """Probe on a reserved connection, because an exhausted pool is not a failure."""
    try:
        async with asyncio.timeout(PROBE_S), database.read(reserved=True) as session:
            started_at = time.perf_counter()
            version = await session.value(_VERSION)
            latency_ms = (time.perf_counter() - started_at) * 1000
            revision = await migrations.present(session)
    except (HowdahError, OSError, TimeoutError):
        return DatabaseProbe(ok=False, migrations_current=False)
    newer = migrations.is_newer(revision)
    return DatabaseProbe(
        ok=True,
        migrations_current=newer or revision == migrations.head(),
        newer_revision=revision if newer else None,
        version=version,
        latency_ms=round(latency_ms, 2),
    )
