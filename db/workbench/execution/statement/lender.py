"""What a run needs of the workbench: connections, and the means to terminate one."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from db.kit.base import OwnerId
from db.workbench.connections.libpq import Connection
from db.workbench.connections.pools.connection_pool import ReservedConnection
from db.workbench.sql.pinned import pinned

END_S = 0.5

TERMINATE = pinned("""
    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
    WHERE pid = $1 AND backend_start::text = $2""")


class Lender(Protocol):
    """Lends connections to the users' databases."""

    async def reserve(self, owner: OwnerId, connection_id: UUID) -> ReservedConnection | None:
        """An idle connection, if there is one; it may be of another version of the connection."""

    def lend(
        self, owner: OwnerId, connection_id: UUID
    ) -> AbstractAsyncContextManager[Connection]: ...

    def side_connection(
        self, owner: OwnerId, connection_id: UUID
    ) -> AbstractAsyncContextManager[Connection]:
        """A short-lived connection outside the pool, available even when the pool is exhausted."""
