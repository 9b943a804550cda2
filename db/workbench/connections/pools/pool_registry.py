"""The open pools of a process: started on first use, closed when idle, outdated or dropped."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from db.concurrency.fair_slots import FairSlots
from db.concurrency.waiting import TaskSet, cancel_all
from db.connections import ConnectionRow
from db.errors import Overloaded
from db.kit.base import OwnerId
from db.workbench.connections.pools.circuit_breaker import Breaker
from db.workbench.connections.values import Limits

if TYPE_CHECKING:  # psycopg and asyncssh are imported at the first connection, not at the start
    from db.workbench.connections.connector import Connector
    from db.workbench.connections.libpq import ServerFacts
    from db.workbench.connections.pools.connection_pool import ConnectionPool

SWEEP_S = 5.0
EXPIRE_S = 12 * 3_600.0
SESSION_SHARE = 3
"""Quarters of the connections of a process that sessions may hold at most."""
DEDICATED_WAIT_S = 1.0

Key: TypeAlias = tuple[OwnerId, UUID]
"""The owner and the ID of a saved connection."""


class Generation(NamedTuple):
    """The pool for one version of a connection; a change of the connection starts a new one."""

    row: ConnectionRow
    pool: "ConnectionPool"


class TargetFigures(NamedTuple):
    """The pools of a process, and their connections."""

    pools: int
    idle: int
    busy: int
    side: int
    """Connections outside the pools that stay open: of sessions and live samples."""
    limit: int
    breakers_open: int
    tunnels: int
    outcomes: Mapping[str, int]


class PoolRegistry:
    """The current pool of each connection, and earlier ones until their statements have ended."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.dedicated = FairSlots(
            "database sessions",
            total=max(1, limits.connections * SESSION_SHARE // 4),
            wait_s=DEDICATED_WAIT_S,
        )
        """The connections that are held for long, so that sessions leave some to runs."""
        self._current: dict[Key, Generation] = {}
        self._living: dict[ConnectionPool, tuple[Key, int]] = {}
        """All pools that are not closed, of any generation, with key and `disconnect_count`."""
        self._tasks = TaskSet()
        self.outcomes: Counter[str] = Counter()
        """The attempts to connect, by `OK` or the code of the error."""

    @property
    def figures(self) -> TargetFigures:
        pools = list(self._living)
        idle, busy = sum(pool.figures[1] for pool in pools), sum(pool.figures[2] for pool in pools)
        return TargetFigures(
            pools=len(pools),
            idle=idle,
            busy=busy,
            side=sum(pool.side_count for pool in pools),
            limit=self._limits.connections,
            breakers_open=sum(pool.breaker.is_open for pool in pools),
            tunnels=sum(pool.has_tunnel for pool in pools),
            outcomes=self.outcomes,
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, limits: Limits) -> AsyncIterator["PoolRegistry"]:
        registry = cls(limits)
        registry.run_in_background(registry._sweep())
        try:
            yield registry
        finally:
            await registry._close()

    def find(self, key: Key) -> Generation | None:
        return self._current.get(key)

    def connection_ids(self) -> set[UUID]:
        """The connections with pools that are connected, of any generation."""
        return {
            connection_id
            for pool, ((_, connection_id), _) in self._living.items()
            if pool.open_count or pool.in_use
        }

    def of_owner(self, owner: OwnerId) -> Iterator[tuple[UUID, "ConnectionPool"]]:
        """The current pools of an owner, in the order in which they were opened."""
        for (pool_owner, connection_id), generation in self._current.items():
            if pool_owner == owner:
                yield connection_id, generation.pool

    def start(
        self,
        key: Key,
        row: ConnectionRow,
        make_connector: "Callable[[], Awaitable[Connector]]",
        on_connected: "Callable[[ServerFacts], None]",
        *,
        facts: "ServerFacts | None" = None,
        breaker: Breaker | None = None,
    ) -> "ConnectionPool":
        """Starts the pool for this version of the connection. Retire an earlier one before."""
        from db.workbench.connections.pools.connection_pool import ConnectionPool

        pool = ConnectionPool(
            make_connector,
            size=self._limits.pool_size,
            breaker=breaker or Breaker(),
            make_room=self._make_room,
            on_connected=on_connected,
            facts=facts,
        )
        self._living[pool] = key, row.disconnect_count
        self._current[key] = Generation(row, pool)
        return pool

    def retire(self, key: Key) -> None:
        """Closes the pool when its statements have ended."""
        generation = self._current.pop(key, None)
        if generation is not None:
            self.run_in_background(self._close_when_unused(generation.pool))

    def close_outdated(
        self, disconnect_counts: Mapping[UUID, int | None]
    ) -> list[asyncio.Task[None]]:
        """Closes the pools of these connections with an earlier count, and ends their statements.

        All pools of a connection without a count are outdated: it was deleted.
        """

        def is_outdated(connection_id: UUID, count: int) -> bool:
            current = disconnect_counts.get(connection_id, count)
            return current is None or count < current

        outdated = [
            (key, pool) for pool, (key, count) in self._living.items() if is_outdated(key[1], count)
        ]
        for key, pool in outdated:
            if (now := self._current.get(key)) is not None and now.pool is pool:
                del self._current[key]
        return [self.run_in_background(self._close_pool(pool)) for _, pool in outdated]

    async def _close_when_unused(self, pool: "ConnectionPool") -> None:
        await pool.wait_unused()
        await self._close_pool(pool)

    async def _close_pool(self, pool: "ConnectionPool") -> None:
        try:
            await pool.close()
        finally:
            self._living.pop(pool, None)

    def _make_room(self) -> None:
        """Makes room for one more connection by evicting those that the least used pool has idle.

        Pools without a borrower come first; one whose connection a session holds has others idle.

        Raises:
            Overloaded: All connections are in use.
        """
        if sum(pool.open_count for pool in self._living) < self._limits.connections:
            return
        with_idle = [pool for pool in self._living if pool.idle_count]
        if with_idle:
            min(with_idle, key=lambda pool: (pool.in_use, pool.used_at)).drop_idle()
            return
        raise Overloaded(
            "Howdah has reached its limit of open database connections.",
            hint="Disconnect an unused connection, or try again in a moment.",
            retry_after_s=5,
            cause="target_connections",
        )

    async def _sweep(self) -> None:
        """Closes idle connections, and pools that were unused for `EXPIRE_S` or have expired."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_S, self._limits.idle_s / 4))
            for key, generation in list(self._current.items()):
                pool, now = generation.pool, loop.time()
                self.run_in_background(pool.close_idle(self._limits.idle_s))
                is_unused = not pool.in_use and now - pool.used_at >= EXPIRE_S
                if is_unused or now >= pool.expires_at:
                    self.retire(key)

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` until it ends or the registry closes."""
        return self._tasks.start(work, name="pools")

    async def _close(self) -> None:
        """Closes all pools, then cancels the background tasks."""
        self._current.clear()
        await asyncio.gather(*map(self._close_pool, list(self._living)), return_exceptions=True)
        await cancel_all(self._tasks)
