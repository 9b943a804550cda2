"""The open connections of all users to their own databases."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from uuid import UUID

from db.connections import (
    ConnectionRow,
    Connections,
    Draft,
    OpenConnections,
    SecretRequired,
)
from db.errors import HowdahError, NotFound
from db.events import EventBus
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.security.vault import Vault
from db.workbench.connections.credentials import Credentials, LendsAgentTo, Typed
from db.workbench.connections.pools.circuit_breaker import Breaker
from db.workbench.connections.pools.disconnects import Disconnects
from db.workbench.connections.pools.pool_registry import PoolRegistry, TargetFigures
from db.workbench.connections.targets.destinations import Destination, destination_of
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.connections.values import ActivePool, Limits, ProbeResult, Problem
from db.workbench.drivers import load_drivers

if TYPE_CHECKING:  # psycopg and asyncssh are imported at the first connection, not at the start
    from db.workbench.connections.bounds.read_budget import ReadBudget
    from db.workbench.connections.connector import Connector
    from db.workbench.connections.libpq import Connection, ServerFacts
    from db.workbench.connections.pools.connection_pool import ConnectionPool, ReservedConnection

log = logging.getLogger(__name__)


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
        disconnects: Disconnects,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._targets = targets
        self._limits = limits
        self._pools = pools
        self._disconnects = disconnects
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
        events: EventBus | None = None,
    ) -> AsyncIterator["Workbench"]:
        """`lends_agent_to` accepts the owners who may use the SSH agent; None accepts no owner."""
        credentials = Credentials(database, vault, lends_agent_to)
        try:
            async with PoolRegistry.opened(limits) as pools:
                disconnects = Disconnects(database, pools, events)
                pools.run_in_background(disconnects.follow())
                yield cls(database, credentials, targets, limits, pools, disconnects)
        finally:
            targets.close()

    @property
    def figures(self) -> TargetFigures:
        return self._pools.figures

    async def connect(
        self,
        owner: OwnerId,
        connection_id: UUID,
        typed: Typed | None = None,
        *,
        expected_version: int | None = None,
    ) -> ActivePool:
        """Opens the pool and connects once. `typed` secrets replace the stored ones.

        They are tried first, and stored for all replicas only if the server accepts them. They are
        sent to the destination of the row that is read here, which is that of `expected_version`.

        Raises:
            Conflict: The connection has another version than `expected_version`.
        """
        row = await self._require_row(owner, connection_id, expected_version)
        if typed:
            row = await self._store_typed(owner, row, typed)
        pool = self._pool(owner, row)
        await pool.release(await pool.acquire())
        await self._record_open(owner, row, _facts_of(pool))
        await self._database.write(
            lambda session: Connections(session, owner).record_connected(connection_id)
        )
        return _to_active_pool(connection_id, pool)

    async def disconnect(self, owner: OwnerId, connection_id: UUID) -> None:
        """Ends the running statements, closes the pools and deletes the typed secrets.

        On every replica: the others notice within two seconds if the event is lost.
        """

        async def close(session: Session) -> ConnectionRow:
            row = await Connections(session, owner).record_disconnected(connection_id)
            await OpenConnections(session, owner).close(connection_id)
            return row

        row = await self._database.transaction(close)
        await self._disconnects.announce(connection_id, row.disconnect_count)

    async def drop(self, connection_id: UUID) -> None:
        """Call after the deletion of a connection: closes its pools on every replica."""
        await self._disconnects.announce(connection_id, None)

    def renew(self, owner: OwnerId, row: ConnectionRow) -> None:
        """Call after a change of the row: an open pool is replaced by a new generation."""
        if self._pools.find((owner, row.id)) is not None:
            self._pool(owner, row)

    async def active(self, owner: OwnerId) -> list[ActivePool]:
        """The open connections, in the order in which they were opened, at any replica.

        The figures are those of the pools of this process: zero if it has none.
        """
        here = {key: pool for key, pool in self._pools.of_owner(owner) if pool.facts is not None}
        async with self._database.read() as session:
            opened = await OpenConnections(session, owner).list_all()
            unrecorded = here.keys() - {row.connection_id for row in opened}
            rows = await Connections(session, owner).get_many(unrecorded) if unrecorded else []
        found = [
            _to_active_pool(row.connection_id, here[row.connection_id])
            if row.connection_id in here
            else ActivePool(*row, pool_size=0, idle=0, busy=0)
            for row in opened
        ]
        found += [
            _to_active_pool(row.id, here[row.id]) for row in rows if self.has_pool(owner, row)
        ]
        return sorted(found, key=lambda active: active.connected_at)

    def has_pool(self, owner: OwnerId, row: ConnectionRow) -> bool:
        """Whether the connection is open in this process. `OpenConnections` has those of all."""
        generation = self._pools.find((owner, row.id))
        return (
            generation is not None
            and generation.pool.facts is not None
            and generation.row.disconnect_count == row.disconnect_count
            and destination_of(generation.row) == destination_of(row)
        )

    @contextlib.asynccontextmanager
    async def lend(self, owner: OwnerId, connection_id: UUID) -> "AsyncIterator[Connection]":
        """Lends a connection in autocommit mode; its session state is reset at the end.

        Close the connection to discard it. The borrower removes the handlers that it adds, and
        limits the time of a statement with `libpq.abort_after`.
        """
        row = await self._require_row(owner, connection_id)
        pool = self._pool(owner, row)
        connection = await pool.acquire()
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def reserve(self, owner: OwnerId, connection_id: UUID) -> "ReservedConnection | None":
        """Takes an idle connection, if there is one, without reading the row of the connection.

        Waits shortly for one that is being reset.

        The caller compares its `generation` with that of the row before it uses the connection.
        """
        generation = self._pools.find((owner, connection_id))
        if generation is None:
            return None
        return await generation.pool.reserve(generation=generation.row.generation)

    @contextlib.asynccontextmanager
    async def open_dedicated(self, owner: OwnerId, row_id: UUID) -> "AsyncIterator[Connection]":
        """Opens a connection for one holder; it is not pooled.

        Raises:
            Overloaded: Sessions hold three quarters of the connections of the process, or the
                others hold all that are not kept for users without one.
        """
        row = await self._require_row(owner, row_id)
        async with (
            self._pools.dedicated.of(owner),
            self._pool(owner, row).dedicated() as connection,
        ):
            yield connection

    @contextlib.asynccontextmanager
    async def side_connection(
        self, owner: OwnerId, connection_id: UUID, *, stays_open: bool = False
    ) -> "AsyncIterator[Connection]":
        """Opens a connection outside the pool for a short query, even if the pool is exhausted."""
        pool = self._pool(owner, await self._require_row(owner, connection_id))
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
        except NotFound:
            self._pools.close_outdated({connection_id: None})
            raise

    async def _store_typed(self, owner: OwnerId, row: ConnectionRow, typed: Typed) -> ConnectionRow:
        """Tries the secrets, and stores them if they are accepted. Returns the row after that."""
        destination, _ = await self._credentials.of_saved(owner, row, typed)
        connector = self._connector_to(owner, destination)
        try:
            with self._pool(owner, row).breaker.attempt():
                found = await connector.measure()
        finally:
            await connector.close()
        return await self._credentials.store_typed(
            owner, row, typed, server_version=found.server_version or "", tls=found.tls
        )

    def _pool(self, owner: OwnerId, row: ConnectionRow) -> "ConnectionPool":
        """Returns the pool of this generation; an earlier one closes after its statements.

        Nothing is awaited between the lookup and the start, so concurrent callers share a pool.
        """
        key = (owner, row.id)
        now = self._pools.find(key)
        if now is not None and now.row.disconnect_count < row.disconnect_count:
            self._pools.close_outdated({row.id: row.disconnect_count})
            now = None
        if now is None:
            return self._start(owner, row)
        if now.row.generation == row.generation:
            return now.pool
        self._pools.retire(key)
        if destination_of(now.row) != destination_of(row):
            return self._start(owner, row)
        return self._start(owner, row, now.pool.facts, now.pool.breaker)

    def _start(
        self,
        owner: OwnerId,
        row: ConnectionRow,
        facts: "ServerFacts | None" = None,
        breaker: Breaker | None = None,
    ) -> "ConnectionPool":
        async def make_connector() -> "Connector":
            destination, left_s = await self._credentials.of_saved(owner, row)
            return self._connector_to(owner, destination, left_s)

        def on_connected(facts: "ServerFacts") -> None:
            self._pools.run_in_background(self._record_open_later(owner, row, facts))

        return self._pools.start(
            (owner, row.id), row, make_connector, on_connected, facts=facts, breaker=breaker
        )

    async def _record_open(self, owner: OwnerId, row: ConnectionRow, facts: "ServerFacts") -> None:
        """Shows the connection as open at every replica."""
        await self._database.write(
            lambda session: OpenConnections(session, owner).record(
                row, server_version=facts.server_version, tls=facts.tls
            )
        )

    async def _record_open_later(
        self, owner: OwnerId, row: ConnectionRow, facts: "ServerFacts"
    ) -> None:
        try:
            await self._record_open(owner, row, facts)
        except HowdahError as error:
            log.warning("other replicas do not see connection %s as open: %s", row.id.hex, error)

    def _connector_to(
        self, owner: OwnerId, destination: Destination, lifetime_s: float | None = None
    ) -> "Connector":
        from db.workbench.connections.bounds.read_budget import ReadBudget
        from db.workbench.connections.connector import Connector

        if self._read_budget is None:
            self._read_budget = ReadBudget(self._limits.row_bytes, self._limits.process_row_bytes)
        budget = self._read_budget
        return Connector(
            destination,
            self._targets,
            lambda: budget.slot_for(owner),
            lifetime_s=lifetime_s,
            outcomes=self._pools.outcomes,
            user=owner,
        )


def _facts_of(pool: "ConnectionPool") -> "ServerFacts":
    assert pool.facts is not None  # noqa: S101 - only of pools that have connected
    return pool.facts


def _to_active_pool(connection_id: UUID, pool: "ConnectionPool") -> ActivePool:
    return ActivePool(connection_id, *_facts_of(pool), *pool.figures)
