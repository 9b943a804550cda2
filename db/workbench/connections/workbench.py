"""The open connections of all users to their own databases."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from uuid import UUID

from db.connections import ConnectionRow, Connections, Draft, SecretRequired
from db.errors import Forbidden, HowdahError, NotFound
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench.connections.credentials import Credentials, LendsAgentTo
from db.workbench.connections.pools.circuit_breaker import Breaker
from db.workbench.connections.pools.pool_registry import Entered, PoolRegistry
from db.workbench.connections.targets.destinations import Destination, destination_of
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.connections.values import ActivePool, Limits, ProbeResult, Problem
from db.workbench.drivers import load_drivers

if TYPE_CHECKING:  # psycopg and asyncssh are imported at the first connection, not at the start
    from db.workbench.connections.bounds.read_budget import ReadBudget
    from db.workbench.connections.connector import Connector
    from db.workbench.connections.libpq import Connection, Facts
    from db.workbench.connections.pools.connection_pool import ConnectionPool, ReservedConnection


class Workbench:
    """Opens pools on first use and closes them when they are idle.

    Each use reads the row of the connection with the owner as a condition, so a change or
    deletion on another replica takes effect with the next statement.
    """

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        targets: Targets,
        limits: Limits,
        pools: PoolRegistry,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._targets = targets
        self._limits = limits
        self._pools = pools
        self._read_budget: ReadBudget | None = None
        self.lends_agent_to = credentials.lends_agent_to

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        database: Database,
        vault: Vault,
        targets: Targets,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        lends_agent_to: LendsAgentTo | None = None,
    ) -> AsyncIterator["Workbench"]:
        """`lends_agent_to` accepts the owners who may use the SSH agent; None accepts no owner."""
        credentials = Credentials(database, vault, lends_agent_to)
        try:
            async with PoolRegistry.opened(limits) as pools:
                yield cls(database, credentials, targets, limits, pools)
        finally:
            targets.close()

    async def connect(
        self,
        owner: OwnerId,
        connection_id: UUID,
        entered: Entered | None = None,
        *,
        expected_version: int | None = None,
    ) -> ActivePool:
        """Opens the pool and connects once. Secrets in `entered` replace the stored ones.

        The pool connects to the destination of the row that is read here, so entered secrets
        are sent to no destination other than that of `expected_version`.

        Raises:
            Conflict: The connection has another version than `expected_version`.
        """
        row = await self._require_row(owner, connection_id, expected_version)
        pool = self._pool(owner, row, entered or {})
        try:
            await pool.release(await pool.acquire())
        except HowdahError:
            if pool.facts is None:
                self._discard_entered(owner, row)
            raise
        await self._database.write(
            lambda session: Connections(session, owner).record_connected(connection_id)
        )
        return _to_active_pool(connection_id, pool)

    async def disconnect(self, owner: OwnerId, connection_id: UUID) -> None:
        await self._require_row(owner, connection_id)
        await self.drop(owner, connection_id)

    async def drop(self, owner: OwnerId, connection_id: UUID) -> None:
        """Ends the running statements, closes the pool and discards the entered secrets."""
        await self._pools.drop((owner, connection_id))

    def renew(self, owner: OwnerId, row: ConnectionRow) -> None:
        """Call after a change of the row: an open pool is replaced by a new generation."""
        if self._pools.find((owner, row.id)) is not None:
            self._pool(owner, row, None)

    def active(self, owner: OwnerId) -> list[ActivePool]:
        """The open pools of this process, in the order in which they were opened."""
        return [
            _to_active_pool(connection_id, pool)
            for connection_id, pool in self._pools.of_owner(owner)
            if pool.facts is not None
        ]

    def is_connected(self, owner: OwnerId, connection_id: UUID) -> bool:
        generation = self._pools.find((owner, connection_id))
        return generation is not None and generation.pool.facts is not None

    @contextlib.asynccontextmanager
    async def lend(self, owner: OwnerId, connection_id: UUID) -> "AsyncIterator[Connection]":
        """Lends a connection in autocommit mode; its session state is reset at the end.

        Close the connection to discard it. The borrower removes the handlers that it adds, and
        limits the time of a statement with `libpq.abort_after`.
        """
        row = await self._require_row(owner, connection_id)
        pool = self._pool(owner, row, None)
        connection = await pool.acquire()
        try:
            yield connection
        finally:
            await pool.release(connection)

    def reserve(self, owner: OwnerId, connection_id: UUID) -> "ReservedConnection | None":
        """Takes an idle connection, if there is one, without reading the row of the connection.

        The caller compares its `version` with that of the row before it uses the connection.
        """
        generation = self._pools.find((owner, connection_id))
        if generation is None:
            return None
        return generation.pool.reserve(version=generation.row.version)

    @contextlib.asynccontextmanager
    async def side_connection(
        self, owner: OwnerId, connection_id: UUID, *, stays_open: bool = False
    ) -> "AsyncIterator[Connection]":
        """Opens a connection outside the pool for a short query, even if the pool is exhausted."""
        pool = self._pool(owner, await self._require_row(owner, connection_id), None)
        async with pool.monitor() if stays_open else pool.side_connection() as connection:
            yield connection

    async def probe(
        self, owner: OwnerId, draft: Draft, *, connection_id: UUID | None = None
    ) -> ProbeResult:
        """Tests a saved connection, an unsaved one, or a saved one with changes.

        Stored secrets are used only for the destination that they were saved for.
        """
        try:
            destination = await self._credentials.of_draft(owner, draft, connection_id)
        except SecretRequired as error:
            return ProbeResult(problem=Problem.of(error))
        await load_drivers()
        connector = self._connector_to(owner, destination)
        try:
            return await connector.measure()
        except HowdahError as error:
            return ProbeResult(problem=Problem.of(error))
        finally:
            await connector.close()

    async def _require_row(
        self, owner: OwnerId, connection_id: UUID, expected_version: int | None = None
    ) -> ConnectionRow:
        await load_drivers()
        try:
            async with self._database.read() as session:
                connections = Connections(session, owner)
                return await connections.require_version(connection_id, expected_version)
        except (NotFound, Forbidden):
            self._pools.retire((owner, connection_id))
            raise

    def _pool(
        self, owner: OwnerId, row: ConnectionRow, entered: Entered | None
    ) -> "ConnectionPool":
        """Returns the pool of this version; an earlier one closes after its statements.

        Nothing is awaited between the lookup and the start, so concurrent callers share a pool.
        """
        now = self._pools.find((owner, row.id))
        if now is None:
            return self._start(owner, row, entered or {})
        same = now.row.version == row.version
        if same and (not entered or entered == now.entered):
            return now.pool
        self._pools.retire((owner, row.id))
        if not same and destination_of(now.row) != destination_of(row):
            return self._start(owner, row, entered or {})
        facts = None if entered else now.pool.facts
        return self._start(owner, row, entered or now.entered, facts, now.pool.breaker)

    def _start(
        self,
        owner: OwnerId,
        row: ConnectionRow,
        entered: Entered,
        facts: "Facts | None" = None,
        breaker: Breaker | None = None,
    ) -> "ConnectionPool":
        async def make_connector() -> "Connector":
            return self._connector_to(owner, await self._credentials.of_saved(owner, row, entered))

        return self._pools.start(
            (owner, row.id), row, entered, make_connector, facts=facts, breaker=breaker
        )

    def _connector_to(self, owner: OwnerId, destination: Destination) -> "Connector":
        from db.workbench.connections.bounds.read_budget import ReadBudget
        from db.workbench.connections.connector import Connector

        if self._read_budget is None:
            self._read_budget = ReadBudget(self._limits.row_bytes, self._limits.process_row_bytes)
        budget = self._read_budget
        return Connector(destination, self._targets, lambda: budget.slot_for(owner))

    def _discard_entered(self, owner: OwnerId, row: ConnectionRow) -> None:
        """After a failed attempt the next one starts from the stored secrets."""
        now = self._pools.find((owner, row.id))
        if now is not None and now.entered and now.pool.facts is None:
            self._pools.retire((owner, row.id))
            self._start(owner, row, {}, None, now.pool.breaker)


def _to_active_pool(connection_id: UUID, pool: "ConnectionPool") -> ActivePool:
    facts = pool.facts
    assert facts is not None  # noqa: S101 - only pools that have connected are shown
    return ActivePool(connection_id, *facts, *pool.figures)
