"""Sends statements of concurrent callers together: what waits becomes one statement.

A statement is sent at once, in its own form, as long as few of its kind are under way. While they
are, equal statements of other callers wait and are sent together when one of them returns
(`gathered_sql`). Decision 0026 has the reasons and measurements.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from db.errors import Overloaded, TimedOut
from db.postgres.connect import Dropped
from db.postgres.gathered_sql import GatheredSql, gather_statement
from db.postgres.leases import overloaded
from db.postgres.statements import Statement

Rows: TypeAlias = Sequence[Any]
Send: TypeAlias = Callable[[Statement[Any], str, Sequence[Any]], Awaitable[tuple[Rows, float]]]
"""Runs SQL on a connection of the pool; returns the rows, and the time without that of the pool."""

FEWEST = 2
SEND_EVERY_S = 0.000_15
"""With a distant database more statements may be under way, so that one leaves this often."""
LARGEST_BATCH = 128
BATCH_TAKES_S = 0.005
"""A batch has at most as many callers as the database probably answers in this time."""
SLOW_READ_S = 1.0
"""A gathered read that takes this much longer than the round trip is split up."""
WINDOW_S = 10.0


class _Call(asyncio.Future[Rows]):
    """A caller's statement that waits for its answer."""

    def __init__(
        self, arguments: Sequence[Any], expires: float, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(loop=loop)
        self.arguments = arguments
        self.expires = expires


class _Kind:
    """The callers of one statement."""

    __slots__ = ("call_s", "flying", "form", "statement", "waiting")

    def __init__(self, statement: Statement[Any], form: GatheredSql | None) -> None:
        self.statement = statement
        self.form = form
        self.waiting: deque[_Call] = deque()
        self.flying = 0
        self.call_s = _SlidingMinimum(WINDOW_S)
        """Time that the database spends on one call, without the round trip."""

    def row(self, arguments: Sequence[Any]) -> Hashable | None:
        """The row that a change of one row locks."""
        if self.form is None or self.form.row_id is None:
            return None
        return self.form.table, arguments[self.form.row_id]

    def learn(self, seconds: float, calls: int, now: float) -> None:
        self.call_s.add(max(seconds, 0.0) / calls, now)

    @property
    def batch_size(self) -> int:
        return max(1, min(LARGEST_BATCH, int(BATCH_TAKES_S / max(self.call_s.value, 1e-6))))


class Gatherer:
    """Gathers the statements of one pool."""

    def __init__(self, send: Send, *, size: int, wait_ms: int) -> None:
        """`size` is that of the pool. A call fails with Overloaded after waiting for `wait_ms`."""
        self._send = send
        self._size = size
        self._wait_ms = wait_ms
        self._kinds: dict[str, _Kind] = {}
        self._queued: dict[_Kind, None] = {}
        self._locked: set[Hashable] = set()
        self._waiting_for: dict[Hashable, deque[_Call]] = {}
        """The changes of each row that wait, in the order of arrival."""
        self._flights: set[asyncio.Task[Sequence[_Call]]] = set()
        self._round_trip = _SlidingMinimum(WINDOW_S)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(len(kind.waiting) for kind in self._queued)

    @property
    def concurrency(self) -> int:
        """How many statements of one kind may be under way: more if the database is distant."""
        distance = self._round_trip.value / SEND_EVERY_S
        return max(FEWEST, min(self._size, math.ceil(distance)))

    async def fetch(self, statement: Statement[Any], arguments: Sequence[Any]) -> Rows:
        """The rows of the statement. Callers are independent: each has its own answer or error."""
        kind = self._kind(statement)
        if kind.form is None:
            return await self._send_alone(kind, arguments)
        row = kind.row(arguments)
        busy = kind.batch_size > 1 and (kind.waiting or kind.flying >= self.concurrency)
        if busy or row in self._locked or row in self._waiting_for:
            return await self._wait(kind, arguments, row)
        self._take_off(kind, (row,))
        try:
            return await self._send_alone(kind, arguments)
        finally:
            self._land(kind, (row,))

    def _kind(self, statement: Statement[Any]) -> _Kind:
        kind = self._kinds.get(statement.sql)
        if kind is None:
            kind = self._kinds[statement.sql] = _Kind(statement, gather_statement(statement))
        return kind

    async def _send_alone(self, kind: _Kind, arguments: Sequence[Any]) -> Rows:
        rows, seconds = await self._send(kind.statement, kind.statement.sql, arguments)
        now = asyncio.get_running_loop().time()
        self._round_trip.add(seconds, now)
        kind.learn(seconds - self._round_trip.value, 1, now)
        return rows

    async def _wait(self, kind: _Kind, arguments: Sequence[Any], row: Hashable | None) -> Rows:
        loop = asyncio.get_running_loop()
        call = _Call(arguments, loop.time() + self._wait_ms / 1000, loop=loop)
        kind.waiting.append(call)
        if row is not None:
            self._waiting_for.setdefault(row, deque()).append(call)
        self._queued[kind] = None
        if self._timer is None:
            self._timer = loop.call_at(call.expires, self._expire)
        return await call

    def _take_off(self, kind: _Kind, rows: Iterable[Hashable | None]) -> None:
        kind.flying += 1
        self._locked.update(row for row in rows if row is not None)

    def _land(self, kind: _Kind, rows: Iterable[Hashable | None]) -> None:
        kind.flying -= 1
        self._locked.difference_update(rows)
        if self._queued:
            self._depart()

    def _depart(self) -> None:
        """Sends what may be sent now."""
        most = self.concurrency
        for kind in list(self._queued):
            while kind.waiting and kind.flying < most and (batch := self._batch(kind)):
                self._start(kind, batch)
            if not kind.waiting:
                del self._queued[kind]

    def _batch(self, kind: _Kind) -> list[_Call]:
        """The next callers, without those whose row another statement is changing."""
        size, batch, passed = kind.batch_size, list[_Call](), deque[_Call]()
        while kind.waiting and len(batch) < size:
            call = kind.waiting.popleft()
            row = kind.row(call.arguments)
            if call.done():
                self._leave(row, call)
            elif row is not None and not self._is_next(row, call):
                passed.append(call)
            else:
                batch.append(call)
        for call in batch:
            self._leave(kind.row(call.arguments), call)
        kind.waiting.extendleft(reversed(passed))
        return batch

    def _is_next(self, row: Hashable, call: _Call) -> bool:
        of_row = self._waiting_for[row]
        while of_row[0].done():  # cancelled or expired: its own kind has not seen it yet
            of_row.popleft()
        return row not in self._locked and of_row[0] is call

    def _leave(self, row: Hashable | None, call: _Call) -> None:
        of_row = self._waiting_for.get(row)
        if of_row is not None:
            with contextlib.suppress(ValueError):
                of_row.remove(call)
            if not of_row:
                del self._waiting_for[row]

    def _start(self, kind: _Kind, batch: list[_Call]) -> None:
        rows = [kind.row(call.arguments) for call in batch]
        self._take_off(kind, rows)
        flight = asyncio.get_running_loop().create_task(self._fly(kind, batch))
        self._flights.add(flight)  # the event loop holds tasks weakly

        def end(_: object) -> None:
            self._flights.discard(flight)
            self._locked.difference_update(rows)
            if not flight.cancelled():
                for call in flight.result():
                    self._start(kind, [call])
            self._land(kind, ())

        flight.add_done_callback(end)

    async def _fly(self, kind: _Kind, batch: list[_Call]) -> Sequence[_Call]:
        """Settles the calls of a batch; returns those that must be sent each by itself."""
        try:
            if len(batch) == 1:
                _settle(batch[0], await self._send_alone(kind, batch[0].arguments))
                return ()
            return await self._fly_together(kind, batch)
        except asyncio.CancelledError:
            for call in batch:
                call.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every caller receives it
            for call in batch:
                _fail(call, error)
            return ()

    async def _fly_together(self, kind: _Kind, batch: list[_Call]) -> Sequence[_Call]:
        form = cast("GatheredSql", kind.form)
        if form.row_id is not None:  # replicas lock rows in one order, so they rarely deadlock
            row_id = form.row_id
            batch.sort(key=lambda call: call.arguments[row_id])
        slow = None if kind.statement.changes else self._round_trip.value + SLOW_READ_S
        try:
            async with asyncio.timeout(slow):
                records, seconds = await self._send(
                    kind.statement, form.sql, form.arguments([call.arguments for call in batch])
                )
        except (Dropped, Overloaded, TimedOut):
            raise  # a change may have happened: it is not sent again
        except Exception:  # noqa: BLE001 - caused by one caller: nothing was changed
            return [call for call in batch if not call.done()]
        now = asyncio.get_running_loop().time()
        kind.learn(seconds - self._round_trip.value, len(batch), now)
        again = []
        for call, rows in zip(batch, divide(form, records, batch), strict=True):
            if rows or form.row_id is None:
                _settle(call, rows)
            elif not call.done():
                again.append(call)  # the row is locked, missing, or of another version
        return again

    def _expire(self) -> None:
        """Fails the calls that have waited for `wait_ms`: what is under way does not return."""
        self._timer = None
        loop = asyncio.get_running_loop()
        expires = math.inf
        for kind in self._queued:
            for call in kind.waiting:
                if call.expires <= loop.time():
                    _fail(call, overloaded(self._wait_ms))
                elif not call.done():
                    expires = min(expires, call.expires)
        if expires < math.inf:
            self._timer = loop.call_at(expires, self._expire)


class _SlidingMinimum:
    """The smallest value of the last one to two windows."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._ends = 0.0
        self._last = self._current = math.inf
        self.value = 0.0

    def add(self, value: float, now: float) -> None:
        if now >= self._ends:
            self._ends = now + self._window_s
            self._last, self._current = self._current, value
        elif value < self._current:
            self._current = value
        else:
            return
        self.value = min(self._last, self._current)


def divide(
    form: GatheredSql, records: Sequence[Any], batch: Sequence[_Call]
) -> Iterable[Sequence[Any]]:
    """The rows of each call of the batch."""
    answers: list[list[Any]] = [[] for _ in batch]
    if form.by_row_id and form.row_id is not None:
        at = {call.arguments[form.row_id]: number for number, call in enumerate(batch)}
        for record in records:
            answers[at[record[0]]].append(record[1:])
    else:
        for record in records:
            answers[record[0] - 1].append(record[1:])
    return answers


def _settle(call: _Call, rows: Rows) -> None:
    if not call.done():
        call.set_result(rows)


def _fail(call: _Call, error: Exception) -> None:
    if not call.done():
        call.set_exception(error)
