"""Queues, executes, cancels and deletes the query runs of users."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from db.connections import ConnectionRow, Connections
from db.errors import Conflict, HowdahError, Unavailable
from db.events import EventBus, Subscription
from db.kit.base import OwnerId
from db.kit.idempotency import Idempotency
from db.objects.store import ObjectStore
from db.postgres.engine import Database, Session
from db.runs import (
    CANCELLED,
    FAILED,
    INTERRUPTED,
    Ending,
    PageRow,
    ResultPages,
    RunRow,
    Runs,
    interrupt_queued,
)
from db.workbench.execution.live_status import LiveStatus, topic_of_owner, topic_of_run
from db.workbench.execution.read_throttle import ReadThrottle
from db.workbench.execution.run_failures import internal_error
from db.workbench.execution.run_request import RunLimits, RunRequest
from db.workbench.execution.scheduler import RunScheduler
from db.workbench.results.result_files import ResultFiles
from db.workbench.results.result_store import ResultStore, Spool, result_prefix

if TYPE_CHECKING:  # psycopg comes with the first run, not at the start
    from db.workbench.execution.statement_run import Backend, Lender, StatementRun

log = logging.getLogger(__name__)

ALREADY_FINISHED, TERMINATED = "ALREADY_FINISHED", "TERMINATED"
CANCEL_TOPIC = "runs:cancel"
CANCEL_WITHIN_S = 1.9
POLL_S = 0.25
INTERRUPT_WITHIN_S = 4.0
REMOVE_WITHIN_S = 5.0
_RETRY_PAUSES_S = (0.05, 0.2, 0.5, 1.0, 2.0)

T = TypeVar("T")


class SubmittedRun(NamedTuple):
    """`replayed` is true if the run was submitted before under the same idempotency key."""

    run: RunRow
    replayed: bool


class CancelResult(NamedTuple):
    """`latency_ms` is the time from the call of `cancel` to the end of the run."""

    run: RunRow
    outcome: str
    latency_ms: int
    connection_usable: bool


class _Id(NamedTuple):
    id: UUID


class Runner:
    """Executes the runs that this process queued. Cancels and deletes those of any process."""

    def __init__(
        self,
        *,
        database: Database,
        events: EventBus,
        objects: ObjectStore,
        lender: "Lender",
        process: int,
        limits: RunLimits = RunLimits(),  # noqa: B008 - immutable
    ) -> None:
        """`process` is the number of this process's liveness lock."""
        self.limits = limits
        self.results = ResultStore(database, objects)
        self.files = ResultFiles(self.results)
        self.process = process
        self.lender = lender
        self.database = database
        self.events = events
        self.live_status = LiveStatus(database, events)
        self._objects = objects
        self._running: dict[UUID, StatementRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttles: WeakValueDictionary[OwnerId, ReadThrottle] = WeakValueDictionary()
        self._scheduler = RunScheduler(
            self._start_next, self._has_queued, slots=limits.process_slots
        )
        self._closing = False

    @property
    def retention(self) -> timedelta:
        return timedelta(days=self.limits.retention_days)

    @property
    def running(self) -> "dict[UUID, StatementRun]":
        """The runs that this process executes, by run ID."""
        return self._running

    async def submit(
        self, owner: OwnerId, request: RunRequest, *, key: str | None = None
    ) -> SubmittedRun:
        """Queues a run and returns at once. Repeating a request with its key queues nothing.

        Raises:
            Unavailable: The server is stopping.
            RateLimited: The owner has too many queued and running runs.
        """
        if self._closing:
            raise Unavailable(
                "The server is stopping.", hint="Try again in a moment.", retry_after_s=1
            )
        request = request.validate(self.limits)
        replayed = True

        async def create(session: Session) -> _Id:
            nonlocal replayed
            replayed = False
            connection = await _connection_of(session, owner, request.connection_id)
            new = request.to_new_run(connection, self.limits)
            runs = Runs(session, owner)
            run = await runs.create(new, process=self.process, max_active=self.limits.max_active)
            return _Id(run.id)

        async def once(session: Session) -> RunRow:
            nonlocal replayed
            replayed = True
            if key is None:
                found = await create(session)
            else:
                keys = Idempotency(session, owner)
                asked = ("executeQuery", request)
                found = await keys.once(key, asked, lambda: create(session), answer=_Id)
            return await Runs(session, owner).update(found.id)

        run = await self.database.transaction(once)
        if not replayed:
            self._scheduler.wake(owner)
            await self.announce(owner, run.id)
        return SubmittedRun(run, replayed)

    async def wait_until_finished(self, owner: OwnerId, run_id: UUID, *, within_s: float) -> RunRow:
        """Returns the run once it has ended, or as it is after `within_s`."""
        async with self.events.subscribe(topic_of_run(run_id)) as changes:
            return await self._wait_until_finished(owner, run_id, changes, within_s)

    async def cancel(self, owner: OwnerId, run_id: UUID) -> CancelResult:
        """Ends a run within two seconds, whichever process executes it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self.events.subscribe(topic_of_run(run_id)) as changes:
            asked = await self.database.write(
                lambda session: Runs(session, owner).request_cancel(run_id, keep=self.retention),
                reserved=True,
            )
            if asked is not None:
                await self._forward_cancel(owner, run_id)
            left_s = CANCEL_WITHIN_S - (loop.time() - began)
            run = await self._wait_until_finished(owner, run_id, changes, left_s, reserved=True)
        if not run.is_finished:
            run = await self._force_cancelled(owner, run_id)
        outcome = ALREADY_FINISHED
        if asked is not None and run.state == CANCELLED:
            outcome = run.cancel_outcome or CANCELLED
        latency_ms = round((loop.time() - began) * 1000)
        return CancelResult(run, outcome, latency_ms, run.connection_usable is not False)

    async def delete(self, owner: OwnerId, run_id: UUID) -> None:
        """Deletes a finished run and its result.

        Raises:
            Conflict: The run is queued or running.
        """
        run = await self._read(owner, run_id)
        if not run.is_finished:
            raise Conflict(
                f"This run is {run.state}.", hint="Cancel it first, then delete it.", field="id"
            )
        await self.results.remove(owner, run_id)
        await self.database.write(lambda session: Runs(session, owner).delete_finished(run_id))

    async def announce(self, owner: OwnerId, run_id: UUID) -> None:
        """Publishes a change to the followers of the run and of the owner's active runs."""
        await self.events.publish(topic_of_run(run_id))
        await self.events.publish(topic_of_owner(owner))

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Starts no more runs, and interrupts those that have not ended after `grace_s`."""
        self._closing = True
        await self._scheduler.close()
        with contextlib.suppress(HowdahError):
            await self._interrupt_queued()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for execution in self._running.values():
            execution.stop(INTERRUPTED)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=INTERRUPT_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Execution

    async def _start_next(self, owner: OwnerId) -> bool:
        try:
            run = await self.database.write(
                lambda session: Runs(session, owner).claim_next(
                    process=self.process, max_running=self.limits.max_running
                )
            )
        except HowdahError as error:
            log.warning("cannot start a run, will retry: %s", error.message)
            return False
        if run is None:
            return False
        task = asyncio.create_task(self._run_claimed(run), name="runs: run")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _has_queued(self, owner: OwnerId) -> bool:
        try:
            async with self.database.read() as session:
                return await Runs(session, owner).has_queued(process=self.process)
        except HowdahError:
            return True

    async def _run_claimed(self, run: RunRow) -> None:
        from db.workbench.execution.statement_run import StatementRun

        owner, folder = run.owner_id, result_prefix(run.owner_id, run.id)
        spool = Spool(self._objects, folder, lambda page: self._record_page(execution, run, page))
        throttle = self._throttles.setdefault(owner, ReadThrottle())
        max_cell = self.limits.max_cell
        execution = StatementRun(run, self.lender, spool, throttle, max_cell=max_cell)
        self._running[run.id] = execution

        async def started(backend: "Backend") -> None:
            await self._record_backend(run, backend)

        async def ended(ending: Ending) -> None:
            if await self._finish(run, ending) and ending.without_rows:
                await self._delete_partial_result(run)

        await self.announce(owner, run.id)
        try:
            await execution.run(started, ended)
        except Exception:  # any error: the run must reach a terminal state
            log.exception("run %s failed with an internal error", run.id)
            await self._finish(run, Ending(state=FAILED, error=internal_error()))
        finally:
            del self._running[run.id]
            await spool.abandon()
            self._scheduler.free_slot()
            self._scheduler.wake(owner)

    async def _record_page(self, execution: "StatementRun", run: RunRow, page: PageRow) -> None:
        columns = msgspec.json.encode(execution.columns).decode()

        async def work(session: Session) -> None:
            runs, pages = Runs(session, run.owner_id), ResultPages(session, run.owner_id)
            if await pages.append(run.id, page):
                await runs.add_page_totals(
                    run.id, columns=columns, rows=page.row_count, size=page.size
                )

        await _write_with_retry(run, lambda: self.database.transaction(work))
        await self.events.publish(topic_of_run(run.id))

    async def _record_backend(self, run: RunRow, backend: "Backend") -> None:
        def work(session: Session) -> Awaitable[None]:
            runs = Runs(session, run.owner_id)
            return runs.record_backend(run.id, pid=backend.pid, started_at=backend.started_at)

        await _write_with_retry(run, lambda: self.database.write(work))

    async def _finish(self, run: RunRow, ending: Ending) -> bool:
        """Returns False if another terminal state was written first."""

        def work(session: Session) -> Awaitable[RunRow | None]:
            return Runs(session, run.owner_id).finish(run.id, ending, keep=self.retention)

        written = await _write_with_retry(run, lambda: self.database.write(work, reserved=True))
        await self.announce(run.owner_id, run.id)
        return written is not None

    async def _delete_partial_result(self, run: RunRow) -> None:
        """Tries once: `delete_partial_results` retries later."""
        with contextlib.suppress(HowdahError, TimeoutError):
            async with asyncio.timeout(REMOVE_WITHIN_S):
                await self.results.remove(run.owner_id, run.id)

    # Cancellation

    async def _forward_cancel(self, owner: OwnerId, run_id: UUID) -> None:
        if (execution := self._running.get(run_id)) is not None:
            execution.stop(CANCELLED)
        else:
            await self.events.publish(CANCEL_TOPIC, run_id.hex)
        await self.announce(owner, run_id)

    async def _force_cancelled(self, owner: OwnerId, run_id: UUID) -> RunRow:
        """Ends the run in the database: the process that executes it stops when it notices."""
        ending = Ending(state=CANCELLED, cancel_outcome=TERMINATED, connection_usable=False)
        await self.database.write(
            lambda session: Runs(session, owner).finish(run_id, ending, keep=self.retention),
            reserved=True,
        )
        await self.announce(owner, run_id)
        return await self._read(owner, run_id, reserved=True)

    async def _wait_until_finished(
        self,
        owner: OwnerId,
        run_id: UUID,
        changes: Subscription,
        within_s: float,
        *,
        reserved: bool = False,
    ) -> RunRow:
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        run = await self._read(owner, run_id, reserved=reserved)
        while not run.is_finished and loop.time() < until:
            with contextlib.suppress(TimeoutError, StopAsyncIteration):
                async with asyncio.timeout_at(min(until, loop.time() + POLL_S)):
                    await anext(changes)
            run = await self._read(owner, run_id, reserved=reserved)
        return run

    async def _read(self, owner: OwnerId, run_id: UUID, *, reserved: bool = False) -> RunRow:
        """Raises NotFound or Forbidden if the owner has no such run."""
        async with self.database.read(reserved=reserved) as session:
            return await Runs(session, owner).update(run_id)

    async def _interrupt_queued(self) -> None:
        interrupted = await self.database.write(
            lambda session: interrupt_queued(session, process=self.process, keep=self.retention)
        )
        for orphan in interrupted:
            await self.announce(orphan.owner_id, orphan.id)


@contextlib.asynccontextmanager
async def closing(runner: Runner, *, grace_s: float) -> AsyncIterator[Runner]:
    """Closes the runner at the end of the block."""
    try:
        yield runner
    finally:
        await runner.close(grace_s=grace_s)


async def _write_with_retry(run: RunRow, write: Callable[[], Awaitable[T]]) -> T:
    """Retries until the database is available again; `write` must be idempotent.

    Raises:
        Conflict: The run has another state; not retried.
    """
    pauses = chain(_RETRY_PAUSES_S, repeat(_RETRY_PAUSES_S[-1]))
    while True:
        try:
            return await write()
        except Conflict:
            raise
        except HowdahError as error:
            log.warning("cannot write the state of run %s, will retry: %s", run.id, error.message)
        await asyncio.sleep(next(pauses))


async def _connection_of(session: Session, owner: OwnerId, connection_id: UUID) -> ConnectionRow:
    try:
        return await Connections(session, owner).update(connection_id)
    except HowdahError as error:
        error.field = "connectionId"
        raise
