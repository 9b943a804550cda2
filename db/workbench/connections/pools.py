"""Pools of connections to the users' databases: one for each owner and saved connection."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
from psycopg.pq import TransactionStatus

from db.workbench.connections.circuit_breaker import Breaker
from db.workbench.connections.connector import Road
from db.workbench.connections.fail_fast_pool import AwakePool, Figures, closed
from db.workbench.connections.libpq import Connection, Facts, abort_after, cut

log = logging.getLogger(__name__)

RESET_S = 2.0
CANCEL_S = 2.0


class Pool:
    """Opens connections when asked; lends each to one borrower, and nothing of one to the next.

    Asleep it holds no connection, tunnel or file; it wakes when somebody borrows.
    """

    def __init__(
        self,
        lay: Callable[[], Awaitable[Road]],
        *,
        size: int,
        breaker: Breaker,
        make_room: Callable[[], None],
        facts: Facts | None = None,
    ) -> None:
        """`lay` makes the road; `make_room` raises when no more connections may be opened."""
        self.breaker = breaker
        self.facts = facts
        self.used_at = asyncio.get_running_loop().time()
        self._lay = lay
        self._size = size
        self._make_room = make_room
        self._awake: AwakePool | None = None
        self._closed = False
        self._turning = asyncio.Lock()
        self._borrowers = 0
        self._lent: set[Connection] = set()
        self._all_back = asyncio.Event()

    @property
    def figures(self) -> Figures:
        return self._awake.figures if self._awake else Figures(0, 0, 0)

    @property
    def is_awake(self) -> bool:
        return self._awake is not None

    @property
    def in_use(self) -> bool:
        return self._borrowers > 0

    async def acquire(self) -> Connection:
        self._borrowers += 1
        try:
            awake = await self._wake()
            connection = await awake.borrow()
        except BaseException:
            self._leave()
            raise
        self._lent.add(connection)
        self.facts = self.facts or awake.facts
        return connection

    async def release(self, connection: Connection) -> None:
        """Clean, or not at all. Back it goes even when the borrower is cancelled here."""
        try:
            await _clean(connection)
        finally:
            self._lent.discard(connection)
            if self._awake is None:
                connection.pgconn.finish()
            else:
                await self._awake.give_back(connection)
            self._leave()

    @contextlib.asynccontextmanager
    async def side_connection(self) -> AsyncIterator[Connection]:
        """One beside the pool, for a moment: to end a statement when all others are lent."""
        self._borrowers += 1
        try:
            async with await (await self._wake()).reach() as connection:
                yield connection
        finally:
            self._leave()

    async def sleep(self) -> None:
        """Close what is open, unless somebody uses it."""
        async with self._turning:
            if not self.in_use:
                await self._close_awake()

    async def close(self) -> None:
        """For good. What is running ends first: asked to, and a moment later made to."""
        self._closed = True
        if self._awake is not None:
            self._awake.call_off()
        await self._end_statements()
        async with self._turning:
            await self._close_awake()

    async def all_back(self) -> None:
        """Return when nothing is lent any more."""
        while self.in_use:
            self._all_back.clear()
            await self._all_back.wait()

    def _leave(self) -> None:
        self._borrowers -= 1
        self.used_at = asyncio.get_running_loop().time()
        if not self._borrowers:
            self._all_back.set()

    async def _wake(self) -> "AwakePool":
        async with self._turning:
            if self._closed:
                raise closed()
            if self._awake is None:
                self._awake = await AwakePool.open(
                    await self._lay(),
                    size=self._size,
                    breaker=self.breaker,
                    make_room=self._make_room,
                )
            return self._awake

    async def _close_awake(self) -> None:
        awake, self._awake = self._awake, None
        if awake is not None:
            await awake.close()

    async def _end_statements(self) -> None:
        await asyncio.gather(*map(_cancel, self._lent))
        if await self._back_within(CANCEL_S):
            return
        for connection in self._lent:
            cut(connection)
        if not await self._back_within(CANCEL_S):
            log.warning("%d connections did not come back", len(self._lent))

    async def _back_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.all_back()
        return not self.in_use


async def _clean(connection: Connection) -> None:
    """Nothing stays: transaction, settings, roles, temporary tables, locks, listening."""
    try:
        with abort_after(connection, RESET_S):
            match connection.pgconn.transaction_status:
                case TransactionStatus.UNKNOWN:
                    return
                case TransactionStatus.ACTIVE:
                    connection.pgconn.finish()
                    return
                case TransactionStatus.INTRANS | TransactionStatus.INERROR:
                    await connection.rollback()
            await connection.set_autocommit(True)
            await connection.execute("DISCARD ALL")
    except BaseException as error:
        connection.pgconn.finish()
        if not isinstance(error, psycopg.Error):
            raise


async def _cancel(connection: Connection) -> None:
    """Ask the server to; at most for a moment."""
    with contextlib.suppress(psycopg.Error):
        await connection.cancel_safe(timeout=CANCEL_S)
