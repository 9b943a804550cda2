"""The workbench: every user's connections to their own databases, while they are open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from db.connections import (
    SECRETS,
    ConnectionRow,
    Connections,
    Draft,
    SealedRow,
    SecretRequired,
    check_binding,
    check_connection,
    secret_locations,
    with_defaults,
)
from db.connections.binding import DATABASE
from db.errors import Conflict, HowdahError, Overloaded
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench.connections.circuit_breaker import Breaker
from db.workbench.connections.destinations import Destination
from db.workbench.connections.network_policy import Targets
from db.workbench.connections.values import ActivePool, Limits, Problem, Trial

if TYPE_CHECKING:  # psycopg and asyncssh are imported at the first connection, not at the start
    from db.workbench.connections.connection_pool import ConnectionPool
    from db.workbench.connections.connector import Connector
    from db.workbench.connections.libpq import Connection, Facts

SWEEP_S = 5.0
FORGET_S = 12 * 3_600.0

Key: TypeAlias = tuple[OwnerId, UUID]
Given: TypeAlias = Mapping[str, str]
"""Secrets that were typed to connect, by their names; they live as long as their pool."""

_PLACE = (*DATABASE, "database", "ssh_auth_method")
"""What a pool is opened for. What was typed to open it is not used for another place."""
_TO_CONNECT = ("host", "database", "username")


class _Generation(NamedTuple):
    """A pool for one version of a connection; a change of the connection makes another."""

    row: ConnectionRow
    given: Given
    pool: "ConnectionPool"


class Workbench:
    """Opens pools when they are asked for, and closes them when they are not.

    An owner reaches their own saved connections only: each time the row is read as theirs, so what
    was changed or deleted by another replica counts here from the next statement on.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        targets: Targets,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._database = database
        self._vault = vault
        self._targets = targets
        self._limits = limits
        self._open: dict[Key, _Generation] = {}
        self._living: set[ConnectionPool] = (
            set()
        )  # those of earlier generations too, until they are empty
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        database: Database,
        vault: Vault,
        targets: Targets,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> AsyncIterator["Workbench"]:
        workbench = cls(database, vault, targets, limits)
        workbench._in_background(workbench._sweep())
        try:
            yield workbench
        finally:
            await workbench._close()

    async def connect(
        self, owner: OwnerId, connection_id: UUID, given: Given | None = None
    ) -> ActivePool:
        """Open, and prove it by a connection. What is `given` replaces what is stored."""
        row = await self._row(owner, connection_id)
        pool = self._pool(owner, row, given or {})
        try:
            await pool.release(await pool.acquire())
        except HowdahError:
            if pool.facts is None:
                self._forget_given(owner, row)
            raise
        await self._database.write(
            lambda session: Connections(session, owner).record_connected(connection_id)
        )
        return _active(connection_id, pool)

    async def disconnect(self, owner: OwnerId, connection_id: UUID) -> None:
        await self._row(owner, connection_id)
        await self.drop(owner, connection_id)

    async def drop(self, owner: OwnerId, connection_id: UUID) -> None:
        """Ends its statements, closes its connections and forgets what was given to open it."""
        generation = self._open.pop((owner, connection_id), None)
        if generation is not None:
            await self._close_pool(generation.pool)

    def renew(self, owner: OwnerId, row: ConnectionRow) -> None:
        """It was changed: what is open moves to a new generation."""
        if (owner, row.id) in self._open:
            self._pool(owner, row, None)

    @property
    def lends_agent(self) -> bool:
        return self._limits.agent

    def active(self, owner: OwnerId) -> list[ActivePool]:
        """Those of this process, in the order in which they were opened."""
        return [
            _active(connection_id, generation.pool)
            for (whose, connection_id), generation in self._open.items()
            if whose == owner and generation.pool.facts is not None
        ]

    def is_connected(self, owner: OwnerId, connection_id: UUID) -> bool:
        generation = self._open.get((owner, connection_id))
        return generation is not None and generation.pool.facts is not None

    @contextlib.asynccontextmanager
    async def lend(self, owner: OwnerId, connection_id: UUID) -> "AsyncIterator[Connection]":
        """A clean connection, in autocommit; what the borrower leaves behind goes with it.

        Close it to have it thrown away. Handlers that are added to it are taken off again by whom
        they were added. To limit the time of a statement see `libpq.abort_after`.
        """
        row = await self._row(owner, connection_id)
        pool = self._pool(owner, row, None)
        connection = await pool.acquire()
        try:
            yield connection
        finally:
            await pool.release(connection)

    @contextlib.asynccontextmanager
    async def side_connection(
        self, owner: OwnerId, connection_id: UUID
    ) -> "AsyncIterator[Connection]":
        """A connection beside the pool, for one short question: there is always room for it."""
        row = await self._row(owner, connection_id)
        async with self._pool(owner, row, None).side_connection() as connection:
            yield connection

    async def probe(
        self, owner: OwnerId, draft: Draft, *, connection_id: UUID | None = None
    ) -> Trial:
        """Tries out a saved connection, or one that is not saved, or changes to a saved one.

        Stored secrets are used only for the destination that they were saved for.
        """
        try:
            destination = await self._drafted(owner, draft, connection_id)
        except SecretRequired as error:
            return Trial(problem=Problem.of(error))
        connector = self._connector_to(destination)
        try:
            return await _try_out(connector)
        except HowdahError as error:
            return Trial(problem=Problem.of(error))
        finally:
            await connector.close()

    async def _row(self, owner: OwnerId, connection_id: UUID) -> ConnectionRow:
        async with self._database.read() as session:
            connections = Connections(session, owner)
            row = await connections.get(connection_id)
            if row is None:
                self._retire(self._open.pop((owner, connection_id), None))
                raise await connections.missing_row_error(connection_id, field="id")
        return row

    def _pool(self, owner: OwnerId, row: ConnectionRow, given: Given | None) -> "ConnectionPool":
        """This version's; the one before lives on until its statements have ended.

        Nothing is awaited between looking and making: two at once get the same.
        """
        now = self._open.get((owner, row.id))
        if now is None:
            return self._start(owner, row, given or {})
        same = now.row.version == row.version
        if same and (not given or given == now.given):
            return now.pool
        self._retire(now)
        if not same and _place(now.row) != _place(row):
            return self._start(owner, row, given or {})
        facts = None if given else now.pool.facts
        return self._start(owner, row, given or now.given, facts, now.pool.breaker)

    def _start(
        self,
        owner: OwnerId,
        row: ConnectionRow,
        given: Given,
        facts: "Facts | None" = None,
        breaker: Breaker | None = None,
    ) -> "ConnectionPool":
        from db.workbench.connections.connection_pool import ConnectionPool

        async def make_connector() -> "Connector":
            now, sealed = await self._with_secrets(owner, row.id)
            if _place(now) != _place(row):  # what is stored by now is for another destination
                raise _changed_meanwhile()
            stored = await self._opened(owner, now, sealed, entered=given)
            return self._connector_to(self._destination(row._asdict(), stored | dict(given)))

        pool = ConnectionPool(
            make_connector,
            size=self._limits.pool_size,
            breaker=breaker or Breaker(),
            make_room=self._make_room,
            facts=facts,
        )
        self._living.add(pool)
        self._open[owner, row.id] = _Generation(row, given, pool)
        return pool

    def _connector_to(self, destination: Destination) -> "Connector":
        from db.workbench.connections.connector import Connector

        return Connector(destination, self._targets)

    async def _drafted(
        self, owner: OwnerId, draft: Draft, connection_id: UUID | None
    ) -> Destination:
        if connection_id is None:
            return self._destination(with_defaults(draft.values, needed=_TO_CONNECT), draft.secrets)
        row, sealed = await self._with_secrets(owner, connection_id)
        before, after = row._asdict(), row._asdict() | draft.values
        check_binding(before, after, stored=sealed.stored_secrets, entered=draft.secrets)
        stored = await self._opened(owner, row, sealed, entered=draft.secrets)
        return self._destination(after, {**stored, **draft.secrets})

    def _destination(
        self, values: Mapping[str, Any], secrets: Mapping[str, str | None]
    ) -> Destination:
        given = {name for name, secret in secrets.items() if secret is not None}
        check_connection(values, secrets=given, agent=self.lends_agent)
        return Destination.of(values, secrets)

    async def _with_secrets(
        self, owner: OwnerId, connection_id: UUID
    ) -> tuple[ConnectionRow, SealedRow]:
        async with self._database.read() as session:
            return await Connections(session, owner).with_secrets(connection_id)

    async def _opened(
        self, owner: OwnerId, row: ConnectionRow, sealed: SealedRow, *, entered: Collection[str]
    ) -> dict[str, str]:
        """The stored secrets, without those that were entered in their place."""
        places = secret_locations(row._asdict(), row=row.id, owner=owner)
        return {
            name: await self._vault.open(value, places[name])
            for name, value in zip(SECRETS, sealed, strict=True)
            if value is not None and name not in entered
        }

    def _forget_given(self, owner: OwnerId, row: ConnectionRow) -> None:
        """It opened nothing: the next attempt starts from what is stored."""
        now = self._open.get((owner, row.id))
        if now is not None and now.given and now.pool.facts is None:
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
        """Allows one more connection; closes those of the pool that was unused for longest."""
        if sum(pool.open_count for pool in self._living) < self._limits.connections:
            return
        unused = [pool for pool in self._living if pool.open_count and not pool.in_use]
        if unused:
            min(unused, key=lambda pool: pool.used_at).drop_idle()
            return
        raise Overloaded(
            "This server has reached its limit of open connections to databases.",
            hint="Disconnect one that you do not need, or try again in a moment.",
            retry_after_s=5,
        )

    async def _sweep(self) -> None:
        """Closes idle connections; forgets pools that were not used for half a day."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_S, self._limits.idle_s / 4))
            for key, generation in list(self._open.items()):
                pool = generation.pool
                self._in_background(pool.close_idle(self._limits.idle_s))
                if not pool.in_use and loop.time() - pool.used_at >= FORGET_S:
                    self._retire(self._open.pop(key))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        """What was retired ends with its pool; the sweep would go on for ever."""
        self._open.clear()
        await asyncio.gather(*map(self._close_pool, list(self._living)), return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._targets.close()


def _place(row: ConnectionRow) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _PLACE)


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "The destination of the connection was changed while it was being opened.",
        hint="Try again to open the connection with its current values.",
    )


def _active(connection_id: UUID, pool: "ConnectionPool") -> ActivePool:
    facts = pool.facts
    assert facts is not None  # noqa: S101 - only pools that have connected are shown
    return ActivePool(connection_id, *facts, *pool.figures)


async def _try_out(connector: "Connector") -> Trial:
    started = asyncio.get_running_loop().time()
    connection = await connector.connect()
    latency_ms = (asyncio.get_running_loop().time() - started) * 1000
    await connection.close()
    facts = connector.facts
    assert facts is not None  # noqa: S101 - it has connected
    return Trial(facts.server_version, round(latency_ms, 3), facts.tls)
