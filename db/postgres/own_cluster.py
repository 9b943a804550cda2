"""Recognizes the cluster of Howdah's own database, whatever address leads to it."""

from typing import NamedTuple

import asyncpg
from sqlalchemy import text

from db.postgres.engine import Database
from db.postgres.statements import compile_statement

# Both are sent to users' databases too, so that no name is looked up in their search paths.
SYSTEM = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()"
STARTED = "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text"
_SYSTEM, _STARTED = compile_statement(text(SYSTEM)), compile_statement(text(STARTED))


class ClusterIdentity(NamedTuple):
    """None is unknown. `started` is the time of the start in microseconds, unique in practice."""

    system: str | None
    started: str | None

    def is_same(self, other: "ClusterIdentity") -> bool:
        return any(
            one is not None and one == another for one, another in zip(self, other, strict=True)
        )


class OwnCluster:
    """The system identifier is that of replicas and physical copies too.

    Some providers do not let roles read it; then the time of the start is compared.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: ClusterIdentity | None = None

    async def identity(self) -> ClusterIdentity:
        """Reads the time of the start each time, because the server may have been restarted."""
        if self._known is None:
            try:
                async with self._database.read() as session:
                    self._known = ClusterIdentity(await session.value(_SYSTEM), None)
            except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError):
                self._known = ClusterIdentity(None, None)
        if self._known.system is not None:
            return self._known
        async with self._database.read() as session:
            return ClusterIdentity(None, await session.value(_STARTED))
