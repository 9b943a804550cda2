"""Sends statements of concurrent callers together: what waits becomes one statement.

A statement is sent at once, in its own form, as long as few equal ones are under way. While they
are, equal statements of other callers wait and are sent together when one of them returns
(`gathered_sql`). Decision 0026 has the reasons and measurements.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from contextvars import copy_context
from typing import Any, TypeAlias, cast

from db.distributions import SIZES, Distribution
from db.errors import HowdahError, Overloaded, TimedOut
from db.postgres.gathering.calls import Batch, Call, Rows, divide, fail, settle
from db.postgres.gathering.gathered_sql import GatheredSql, gather_statement
from db.postgres.gathering.queues import FEWEST, WINDOW_S, SlidingMinimum, StatementQueue
from db.postgres.route.connect import Dropped
from db.postgres.route.sent_statements import callers
from db.postgres.statements import Statement

Send: TypeAlias = Callable[
    [Statement[Any], str, Iterable[Any]], Awaitable[tuple[Rows, float, bool]]
]
"""Runs SQL on a connection of the pool; returns the rows, the time without that of the pool, and
whether the statement was prepared first.

It iterates over the arguments when it has a connection.
"""

SEND_EVERY_S = 0.000_15
"""More equal statements may be under way with a distant database, and more pages that take long, so
that one leaves this often."""
SLOW_READ_S = 1.0
"""A gathered read that takes this much longer than the round trip is split up."""
SPARE_CONNECTIONS = 1
"""Connections that pages leave to others."""
KEPT_QUEUES = 1_000
"""The queues kept without callers. Clients vary statements by the columns that they select."""


class Gatherer:
    """Gathers the statements of one pool."""

    def __init__(
        self,
        send: Send,
        overloaded: Callable[[], HowdahError],
        *,
        size: int,
        wait_ms: int,
        batches: Distribution | None = None,
    ) -> None:
        """`size` is that of the pool.

        A call that has waited for `wait_ms`, here and for a connection, is `overloaded`.

        `batches` counts the callers of each statement that is sent after they have waited.
        """
        self._loop = asyncio.get_running_loop()  # Python 3.11 asks the kernel for the process
        self._batches = batches or Distribution(SIZES)
        self._send = send
        self._size = size
        self._wait_ms = wait_ms
        self._overloaded = overloaded
        self._queues: dict[str, StatementQueue] = {}
        self._nonempty: dict[StatementQueue, None] = {}
        self._locked: set[Hashable] = set()
        self._waiting_for: dict[Hashable, list[Call]] = {}
        """The changes of each row that wait, in the order of arrival."""
        self._started: dict[asyncio.Task[Sequence[Call]], Batch] = {}
        self._round_trip = SlidingMinimum(WINDOW_S)
        self.concurrency = FEWEST
        """How many equal statements may be under way: more if the database is distant."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(len(queue.waiting) for queue in self._nonempty)

    @property
    def round_trip_s(self) -> float:
        """The shortest recent time of a statement."""
        return self._round_trip.value

    def gathers(self, statement: Statement[Any]) -> bool:
        """Whether waiting calls of the statement are mostly sent as one."""
        return self._queue_of(statement).gathers

    def is_full(self, statement: Statement[Any]) -> bool:
        """Whether a call of the statement would wait, to be sent with others."""
        queue = self._queue_of(statement)
        return queue.form is not None and queue.in_flight >= self._most(queue)

    def _most(self, queue: StatementQueue) -> int:
        """A long page waits only for connections: its rows cost more than its statement."""
        form = queue.form
        if form is None or not form.is_page:
            return self.concurrency
        most = self._size
        if queue.gathers:
            seconds = self._round_trip.value + queue.call_s.value
            most = max(2 * self.concurrency - FEWEST, math.ceil(seconds / SEND_EVERY_S))
        return max(1, min(most, self._size - SPARE_CONNECTIONS))

    def fetch(self, statement: Statement[Any], arguments: Sequence[Any]) -> Awaitable[Rows]:
        """The rows of the statement; await them at once.

        Callers are independent: each has its own answer or error.
        """
        queue = self._queue_of(statement)
        if queue.form is None:
            return self._send_alone(queue, arguments)
        row = queue.row(arguments)
        # What waits although fewer are under way waits for a row, and delays no call of another.
        is_full = queue.in_flight >= self._most(queue)
        if (is_full and queue.batch_size > 1) or (
            row is not None and (row in self._locked or row in self._waiting_for)
        ):
            return self._wait(queue, arguments, row)
        return self._send_first(queue, arguments, row)

    async def _send_first(
        self, queue: StatementQueue, arguments: Sequence[Any], row: Hashable | None
    ) -> Rows:
        queue.in_flight += 1
        queue.calls += 1
        if row is not None:
            self._locked.add(row)
        try:
            return await self._send_alone(queue, arguments)
        finally:
            self._locked.discard(row)
            self._finish(queue, 1)

    def _queue_of(self, statement: Statement[Any]) -> StatementQueue:
        queue = self._queues.get(statement.sql)
        if queue is None:
            if len(self._queues) >= KEPT_QUEUES:
                self._queues = {key: old for key, old in self._queues.items() if old.is_busy}
            queue = self._queues[statement.sql] = StatementQueue(
                statement, gather_statement(statement)
            )
        return queue

    async def _send_alone(
        self, queue: StatementQueue, arguments: Sequence[Any], batch: Batch | None = None
    ) -> Rows:
        """`batch` is that of a call that has waited."""
        rows, seconds, is_new = await self._send(
            queue.statement, queue.statement.sql, arguments if batch is None else batch
        )
        now = self._loop.time()
        if self._round_trip.add(seconds, now):
            distance = math.ceil(self._round_trip.value / SEND_EVERY_S)
            self.concurrency = max(FEWEST, min(self._size, distance))
        if not is_new:
            queue.learn(seconds - self._round_trip.value, queue.weight(arguments), now)
        return rows

    def _wait(self, queue: StatementQueue, arguments: Sequence[Any], row: Hashable | None) -> Call:
        loop = self._loop
        call = Call(loop=loop)
        call.arguments = arguments
        call.row = row
        call.context = copy_context()
        call.expires = loop.time() + self._wait_ms / 1000
        queue.waiting.append(call)
        if row is not None:
            of_row = self._waiting_for.get(row)
            if of_row is None:
                self._waiting_for[row] = [call]
            else:
                of_row.append(call)
        self._nonempty[queue] = None
        if self._timer is None:
            self._timer = loop.call_at(call.expires, self._expire)
        return call

    def _finish(self, queue: StatementQueue, calls: int) -> None:
        """Counts a statement with `calls` callers as answered, and sends those that wait."""
        queue.in_flight -= 1
        queue.calls -= calls
        if self._nonempty:
            self._send_waiting()

    def _send_waiting(self) -> None:
        """Sends what may be sent now."""
        for queue in list(self._nonempty):
            most = self._most(queue)
            while queue.waiting and queue.in_flight < most and (batch := self._batch(queue)):
                self._start(queue, batch)
            if not queue.waiting:
                del self._nonempty[queue]

    def _batch(self, queue: StatementQueue) -> list[Call]:
        """The next callers, without those whose row another statement is changing."""
        left, most = queue.batch_size, queue.most_callers
        batch, passed = list[Call](), deque[Call]()
        while queue.waiting and left > 0 and len(batch) < most:
            call = queue.waiting.popleft()
            if call.done():
                self._remove(call)
            elif call.row is not None and not self._is_next(call.row, call):
                passed.append(call)
            else:
                batch.append(call)
                left -= queue.form.weight(call.arguments) if queue.form else 1
        for call in batch:
            self._remove(call)
        queue.waiting.extendleft(reversed(passed))
        return batch

    def _is_next(self, row: Hashable, call: Call) -> bool:
        of_row = self._waiting_for[row]
        while of_row[0].done():  # cancelled or expired: its own queue still holds it
            del of_row[0]
        return row not in self._locked and of_row[0] is call

    def _remove(self, call: Call) -> None:
        row = call.row
        if row is None or (of_row := self._waiting_for.get(row)) is None:
            return
        if call in of_row:
            of_row.remove(call)
        if not of_row:
            del self._waiting_for[row]

    def _start(self, queue: StatementQueue, calls: list[Call]) -> None:
        rows = [call.row for call in calls if call.row is not None]
        queue.in_flight += 1
        self._locked.update(rows)
        batch, count = Batch(calls), len(calls)
        queue.calls += count
        self._batches.add(count)
        # In the context of a caller: else it would be that of whoever ended the last statement.
        task = self._loop.create_task(
            self._run_batch(queue, batch), context=calls[0].context.copy()
        )
        self._started[task] = batch  # the event loop holds tasks weakly

        def end(_: object) -> None:
            del self._started[task]
            self._locked.difference_update(rows)
            if not task.cancelled():
                for call in task.result():
                    call.expires = self._loop.time() + self._wait_ms / 1000  # it waits anew
                    self._start(queue, [call])
            self._finish(queue, count)

        task.add_done_callback(end)

    async def _run_batch(self, queue: StatementQueue, batch: Batch) -> Sequence[Call]:
        """Settles the calls of a batch; returns those that must be sent each by itself."""
        try:
            if len(batch.calls) == 1:
                (call,) = batch.calls
                settle(call, await self._send_alone(queue, call.arguments, batch))
                return ()
            return await self._run_gathered(queue, batch)
        except asyncio.CancelledError:
            for call in batch.calls:
                call.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every caller receives it
            for call in batch.calls:
                fail(call, error)
            return ()

    async def _run_gathered(self, queue: StatementQueue, batch: Batch) -> Sequence[Call]:
        form, statement = cast("GatheredSql", queue.form), queue.statement
        if form.row_id is not None:  # replicas lock rows in one order, so they rarely deadlock
            row_id = form.row_id
            batch.calls.sort(key=lambda call: call.arguments[row_id])
        answered = callers.set([call.context for call in batch.calls])
        try:
            async with asyncio.timeout(None) as limit:
                batch.make_arguments = self._limiting(limit, queue)
                records, seconds, is_new = await self._send(statement, form.sql, batch)
        except (Dropped, Overloaded, TimedOut):
            raise  # a change may have happened: it is not sent again
        except Exception:  # noqa: BLE001 - caused by one caller: nothing was changed
            return [call for call in batch.calls if not call.done()]
        finally:
            callers.reset(answered)
        calls = batch.calls
        if not is_new:
            weights = (queue.weight(call.arguments) for call in calls)
            weight = sum(weights) if form.arrays else len(calls)
            queue.learn(seconds - self._round_trip.value, weight, self._loop.time())
        again = []
        for call, rows in zip(calls, divide(form, records, calls), strict=True):
            if rows or form.row_id is None:
                settle(call, rows)
            elif not call.done():
                again.append(call)  # the row is locked, missing, or of another version
        return again

    def _limiting(
        self, limit: asyncio.Timeout, queue: StatementQueue
    ) -> Callable[[Sequence[Sequence[Any]]], list[Any]]:
        """Makes the arguments, and limits the time of a read from then on."""
        form = cast("GatheredSql", queue.form)

        def make(calls: Sequence[Sequence[Any]]) -> list[Any]:
            if not queue.statement.changes:
                limit.reschedule(self._loop.time() + self._round_trip.value + SLOW_READ_S)
            return form.arguments(calls)

        return make

    def _expire(self) -> None:
        """Fails the calls that have waited for `wait_ms`: what is under way does not return."""
        self._timer = None
        loop = self._loop
        expires = math.inf
        for call in self._unsent():
            if call.done():  # each error is counted when it is made
                continue
            if call.expires <= loop.time():
                call.set_exception(self._overloaded())
            else:
                expires = min(expires, call.expires)
        if expires < math.inf:
            self._timer = loop.call_at(expires, self._expire)

    def _unsent(self) -> Iterator[Call]:
        """The calls that wait here, and those that wait for a connection."""
        for queue in self._nonempty:
            yield from queue.waiting
        for batch in self._started.values():
            if not batch.is_sent:
                yield from batch.calls
