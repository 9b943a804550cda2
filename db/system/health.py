"""Whether our own database serves us, found out within a second."""

import asyncio
import time
from typing import NamedTuple

from sqlalchemy import text

from db.errors import HowdahError
from db.postgres import migrations
from db.postgres.engine import Database
from db.postgres.statements import compile_statement

PROBE_S = 1.0
_VERSION = compile_statement(text("SHOW server_version"))


class DatabaseProbe(NamedTuple):
    """What one look at the database found."""

    ok: bool
    """It answers, in time."""
    migrations_current: bool = False
    newer_revision: str | None = None
    """Where a newer Howdah has brought it, when one has."""
    version: str | None = None
    latency_ms: float | None = None

    @property
    def serves(self) -> bool:
        return self.ok and self.migrations_current

    @property
    def findings(self) -> tuple[str, ...]:
        """What an operator should know, in words."""
        if self.newer_revision is None:
            return ()
        ours, theirs = migrations.head(), self.newer_revision
        words = f"A newer Howdah has migrated the database to {theirs}; this one knows {ours}."
        return (words,)


async def probe_database(database: Database) -> DatabaseProbe:
    """On a reserved connection: an exhausted pool is no reason to be called ill."""
    try:
        async with asyncio.timeout(PROBE_S), database.read(reserved=True) as session:
            started_at = time.perf_counter()
            version = await session.value(_VERSION)
            latency_ms = (time.perf_counter() - started_at) * 1000
            revision = await migrations.present(session)
    except (HowdahError, OSError, TimeoutError):
        return DatabaseProbe(ok=False)
    newer = migrations.is_newer(revision)
    return DatabaseProbe(
        ok=True,
        migrations_current=newer or revision == migrations.head(),
        newer_revision=revision if newer else None,
        version=version,
        latency_ms=round(latency_ms, 2),
    )
