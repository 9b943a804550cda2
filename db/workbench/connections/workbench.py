"""The open connections of all users to their own databases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from db.connections import (
    REQUIRED_TO_CONNECT,
    SECRETS,
    ConnectionRow,
    Connections,
    Draft,
    SealedRow,
    SecretRequired,
    check_binding,
    check_connection,
    decrypt_stored_key,
    secret_locations,
    with_defaults,
)
from db.errors import Forbidden, HowdahError, NotFound, Overloaded
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench.connections.circuit_breaker import Breaker
from db.workbench.connections.connection_errors import destination_changed
from db.workbench.connections.targets.destinations import Destination, destination_of
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.connections.values import ActivePool, Limits, ProbeResult, Problem
from db.workbench.drivers import load_drivers

if TYPE_CHECKING:  # psycopg and asyncssh are imported at the first connection, not at the start
    from db.workbench.connections.bounds.read_budget import ReadBudget
    from db.workbench.connections.connection_pool import ConnectionPool, ReservedConnection
    from db.workbench.connections.connector import Connector
    from db.workbench.connections.libpq import Connection, Facts

SWEEP_S = 5.0
EXPIRE_S = 12 * 3_600.0

Key: TypeAlias = tuple[OwnerId, UUID]
LendsAgentTo: TypeAlias = Callable[[UUID], Awaitable[bool]]
Entered: TypeAlias = Mapping[str, str]
"""Secrets passed to `connect`, by name. They are kept in memory as long as their pool."""


class _Generation(NamedTuple):
    """The pool for one version of a connection; a change of the connection starts a new one."""

    row: ConnectionRow
    entered: Entered
    pool: "ConnectionPool"


class Workbench:
    """Opens pools on first use and closes them when they are idle.

    Each use reads the row of the connection with the owner as a condition, so a change or
    deletion on another replica takes effect with the next statement.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        targets: Targets,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        lends_agent_to: LendsAgentTo | None = None,
    ) -> None:
        """`lends_agent_to` accepts the owners who may use the SSH agent; None accepts no owner."""
        self._lends_agent_to = lends_agent_to
        self._database = database
        self._vault = vault
        self._targets = targets
        self._limits = limits
        self._read_budget: ReadBudget | None = None
        self._open: dict[Key, _Generation] = {}
        self._living: set[ConnectionPool] = set()
        """All pools that are not closed, including those of earlier generations."""
        self._tasks: set[asyncio.Task[None]] = set()

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
        workbench = cls(database, vault, targets, limits, lends_agent_to)
        workbench._in_background(workbench._sweep())
        try:
            yield workbench
        finally:
            await workbench._close()

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
        generation = self._open.pop((owner, connection_id), None)
        if generation is not None:
            await self._close_pool(generation.pool)

    def renew(self, owner: OwnerId, row: ConnectionRow) -> None:
        """Call after a change of the row: an open pool is replaced by a new generation."""
        if (owner, row.id) in self._open:
            self._pool(owner, row, None)

    async def lends_agent_to(self, owner: OwnerId) -> bool:
        """Whether tunnels of this owner may use the SSH agent of the server's account."""
        return self._lends_agent_to is not None and await self._lends_agent_to(owner)

    def active(self, owner: OwnerId) -> list[ActivePool]:
        """The open pools of this process, in the order in which they were opened."""
        return [
            _to_active_pool(connection_id, generation.pool)
            for (pool_owner, connection_id), generation in self._open.items()
            if pool_owner == owner and generation.pool.facts is not None
        ]

    def is_connected(self, owner: OwnerId, connection_id: UUID) -> bool:
        generation = self._open.get((owner, connection_id))
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
        generation = self._open.get((owner, connection_id))
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
            destination = await self._draft_destination(owner, draft, connection_id)
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
            self._retire(self._open.pop((owner, connection_id), None))
            raise

    def _pool(
        self, owner: OwnerId, row: ConnectionRow, entered: Entered | None
    ) -> "ConnectionPool":
        """Returns the pool of this version; an earlier one closes after its statements.

        Nothing is awaited between the lookup and the start, so concurrent callers share a pool.
        """
        now = self._open.get((owner, row.id))
        if now is None:
            return self._start(owner, row, entered or {})
        same = now.row.version == row.version
        if same and (not entered or entered == now.entered):
            return now.pool
        self._retire(now)
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
        from db.workbench.connections.connection_pool import ConnectionPool

        async def make_connector() -> "Connector":
            now, sealed = await self._read_with_secrets(owner, row.id)
            if destination_of(now) != destination_of(
                row
            ):  # the stored secrets are for another destination
                raise destination_changed()
            stored = await self._open_secrets(owner, now, sealed, entered=entered)
            return self._connector_to(
                owner, await self._destination(owner, row._asdict(), stored | dict(entered))
            )

        pool = ConnectionPool(
            make_connector,
            size=self._limits.pool_size,
            breaker=breaker or Breaker(),
            make_room=self._make_room,
            facts=facts,
        )
        self._living.add(pool)
        self._open[owner, row.id] = _Generation(row, entered, pool)
        return pool

    def _connector_to(self, owner: OwnerId, destination: Destination) -> "Connector":
        from db.workbench.connections.bounds.read_budget import ReadBudget
        from db.workbench.connections.connector import Connector

        if self._read_budget is None:
            self._read_budget = ReadBudget(self._limits.row_bytes, self._limits.process_row_bytes)
        budget = self._read_budget
        return Connector(destination, self._targets, lambda: budget.slot_for(owner))

    async def _draft_destination(
        self, owner: OwnerId, draft: Draft, connection_id: UUID | None
    ) -> Destination:
        if connection_id is None:
            return await self._destination(
                owner, with_defaults(draft.values, needed=REQUIRED_TO_CONNECT), draft.secrets
            )
        row, sealed = await self._read_with_secrets(owner, connection_id)
        before, after = row._asdict(), row._asdict() | draft.values
        check_binding(before, after, stored=sealed.stored_secrets, entered=draft.secrets)
        stored = await self._open_secrets(owner, row, sealed, entered=draft.secrets)
        return await self._destination(owner, after, {**stored, **draft.secrets})

    async def _destination(
        self, owner: OwnerId, values: Mapping[str, Any], secrets: Mapping[str, str | None]
    ) -> Destination:
        given = {name for name, secret in secrets.items() if secret is not None}
        agent = await self.lends_agent_to(owner)
        check_connection(values, secrets=given, agent=agent)
        return Destination.of(values, secrets)

    async def _read_with_secrets(
        self, owner: OwnerId, connection_id: UUID
    ) -> tuple[ConnectionRow, SealedRow]:
        async with self._database.read() as session:
            return await Connections(session, owner).with_secrets(connection_id)

    async def _open_secrets(
        self, owner: OwnerId, row: ConnectionRow, sealed: SealedRow, *, entered: Collection[str]
    ) -> dict[str, str]:
        """Opens the stored secrets, except those that `entered` replaces."""
        places = secret_locations(row._asdict(), row=row.id, owner=owner)
        opened = {
            name: await self._vault.open(value, places[name])
            for name, value in zip(SECRETS, sealed, strict=True)
            if value is not None and name not in entered
        }
        return await decrypt_stored_key(opened, owner)

    def _discard_entered(self, owner: OwnerId, row: ConnectionRow) -> None:
        """After a failed attempt the next one starts from the stored secrets."""
        now = self._open.get((owner, row.id))
        if now is not None and now.entered and now.pool.facts is None:
            self._retire(now)
            self._start(owner, row, {}, None, now.pool.breaker)

    def _retire(self, generation: _Generation | None) -> None:
        if generation is not None:
            self._in_background(self._close_when_unused(generation.pool))

    async def _close_when_unused(self, pool: "ConnectionPool") -> None:
        await pool.wait_unused()
        await self._close_pool(pool)

    async def _close_pool(self, pool: "ConnectionPool") -> None:
        try:
            await pool.close()
        finally:
            self._living.discard(pool)

    def _make_room(self) -> None:
        """Makes room for one more connection by evicting the least recently used idle pool.

        Raises:
            Overloaded: All connections are in use.
        """
        if sum(pool.open_count for pool in self._living) < self._limits.connections:
            return
        unused = [pool for pool in self._living if pool.open_count and not pool.in_use]
        if unused:
            min(unused, key=lambda pool: pool.used_at).drop_idle()
            return
        raise Overloaded(
            "Howdah has reached its limit of open database connections.",
            hint="Disconnect an unused connection, or try again in a moment.",
            retry_after_s=5,
        )

    async def _sweep(self) -> None:
        """Closes idle connections, and removes pools that were unused for `EXPIRE_S`."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_S, self._limits.idle_s / 4))
            for key, generation in list(self._open.items()):
                pool = generation.pool
                self._in_background(pool.close_idle(self._limits.idle_s))
                if not pool.in_use and loop.time() - pool.used_at >= EXPIRE_S:
                    self._retire(self._open.pop(key))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        """Closes all pools, then cancels the background tasks."""
        self._open.clear()
        await asyncio.gather(*map(self._close_pool, list(self._living)), return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._targets.close()


def _to_active_pool(connection_id: UUID, pool: "ConnectionPool") -> ActivePool:
    facts = pool.facts
    assert facts is not None  # noqa: S101 - only pools that have connected are shown
    return ActivePool(connection_id, *facts, *pool.figures)
