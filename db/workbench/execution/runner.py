"""Runs of users' statements: queued, carried out, followed, cancelled, and their results kept."""

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
    Pages,
    RunRow,
    Runs,
    abandon,
)
from db.workbench.execution.live_status import Following, topic_of_owner, topic_of_run
from db.workbench.execution.outcomes import unexpected
from db.workbench.execution.read_throttle import Pace
from db.workbench.execution.run_request import Order, RunLimits
from db.workbench.execution.scheduler import Lanes
from db.workbench.results.result_files import ResultFiles
from db.workbench.results.result_store import Results, Spool, folder_of

if TYPE_CHECKING:  # psycopg comes with the first run, not at the start
    from db.workbench.execution.execution import Backend, Execution, Lender

log = logging.getLogger(__name__)

ALREADY_FINISHED, TERMINATED = "ALREADY_FINISHED", "TERMINATED"
CANCELS = "runs:cancel"
CANCEL_WITHIN_S = 1.9
POLL_S = 0.25
INTERRUPT_WITHIN_S = 4.0
REMOVE_WITHIN_S = 5.0
_PAUSES_S = (0.05, 0.2, 0.5, 1.0, 2.0)

T = TypeVar("T")


class Started(NamedTuple):
    """A run that was asked for, now or before under the same key."""

    run: RunRow
    replayed: bool


class Verdict(NamedTuple):
    """What has come of a cancel."""

    run: RunRow
    outcome: str
    latency_ms: int
    connection_usable: bool


class _Id(NamedTuple):
    id: UUID


class Runner:
    """Carries out runs in this process, and answers for all of them, whichever runs them."""

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
        """`process` is the number under which this process shows that it lives."""
        self.limits = limits
        self.results = Results(database, objects)
        self.files = ResultFiles(self.results)
        self.process = process
        self.lender = lender
        self.database = database
        self.events = events
        self.following = Following(database, events)
        self._objects = objects
        self._running: dict[UUID, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._paces: WeakValueDictionary[OwnerId, Pace] = WeakValueDictionary()
        self._lanes = Lanes(self._begin, self._has_queued, slots=limits.everybody_at_once)
        self._closing = False

    @property
    def keep(self) -> timedelta:
        return timedelta(days=self.limits.days_kept)

    @property
    def running(self) -> "dict[UUID, Execution]":
        """Those of this process, by the ids of their runs."""
        return self._running

    async def execute(self, owner: OwnerId, order: Order, *, key: str | None = None) -> Started:
        """Queues a run, and returns at once. The same order under the same key is one run."""
        if self._closing:
            raise Unavailable("Howdah is stopping.", hint="Try again in a moment.", retry_after_s=1)
        order = order.checked(self.limits)
        replayed = True

        async def create(session: Session) -> _Id:
            nonlocal replayed
            replayed = False
            connection = await _connection_of(session, owner, order.connection_id)
            new = order.on(connection, self.limits)
            runs = Runs(session, owner)
            run = await runs.create(new, process=self.process, most_active=self.limits.waiting)
            return _Id(run.id)

        async def once(session: Session) -> RunRow:
            nonlocal replayed
            replayed = True
            if key is None:
                found = await create(session)
            else:
                keys = Idempotency(session, owner)
                asked = ("executeQuery", order)
                found = await keys.run_once(key, asked, lambda: create(session), answer=_Id)
            return await Runs(session, owner).require(found.id)

        run = await self.database.transaction(once)
        if not replayed:
            self._lanes.wake(owner)
            await self.announce(owner, run.id)
        return Started(run, replayed)

    async def until_over(self, owner: OwnerId, run_id: UUID, *, within_s: float) -> RunRow:
        """The run at its end, or as it is when the time is up."""
        async with self.events.subscribe(topic_of_run(run_id)) as changes:
            return await self._until_over(owner, run_id, changes, within_s)

    async def cancel(self, owner: OwnerId, run_id: UUID) -> Verdict:
        """Ends a run, wherever it is carried out, within two seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self.events.subscribe(topic_of_run(run_id)) as changes:
            asked = await self.database.write(
                lambda session: Runs(session, owner).request_cancel(run_id, keep=self.keep),
                reserved=True,
            )
            if asked is not None:
                await self._pass_on_cancel(owner, run_id)
            left_s = CANCEL_WITHIN_S - (loop.time() - began)
            run = await self._until_over(owner, run_id, changes, left_s, reserved=True)
        if not run.is_over:
            run = await self._give_up(owner, run_id)
        outcome = ALREADY_FINISHED
        if asked is not None and run.state == CANCELLED:
            outcome = run.cancel_outcome or CANCELLED
        latency_ms = round((loop.time() - began) * 1000)
        return Verdict(run, outcome, latency_ms, run.connection_usable is not False)

    async def delete(self, owner: OwnerId, run_id: UUID) -> None:
        """A run that is over, with its result."""
        run = await self._read(owner, run_id)
        if not run.is_over:
            raise Conflict(
                f"This run is {run.state}.", hint="Cancel it first, then delete it.", field="id"
            )
        await self.results.remove(owner, run_id)
        await self.database.write(lambda session: Runs(session, owner).remove_over(run_id))

    async def announce(self, owner: OwnerId, run_id: UUID) -> None:
        """To those who follow the run, and those who follow all that are active."""
        await self.events.publish(topic_of_run(run_id))
        await self.events.publish(topic_of_owner(owner))

    async def close(self, *, grace_s: float = 0.0) -> None:
        """No new work; what runs may end within the grace, the rest is INTERRUPTED."""
        self._closing = True
        await self._lanes.close()
        with contextlib.suppress(HowdahError):
            await self._abandon_queued()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for execution in self._running.values():
            execution.stop(INTERRUPTED)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=INTERRUPT_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Beginning and ending

    async def _begin(self, owner: OwnerId) -> bool:
        try:
            run = await self.database.write(
                lambda session: Runs(session, owner).claim_next(
                    process=self.process, at_once=self.limits.at_once
                )
            )
        except HowdahError as error:
            log.warning("no run can begin just now: %s", error.message)
            return False
        if run is None:
            return False
        task = asyncio.create_task(self._carry_out(run), name="runs: run")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _has_queued(self, owner: OwnerId) -> bool:
        try:
            async with self.database.read() as session:
                return await Runs(session, owner).has_queued(process=self.process)
        except HowdahError:
            return True

    async def _carry_out(self, run: RunRow) -> None:
        from db.workbench.execution.execution import Execution

        owner, folder = run.owner_id, folder_of(run.owner_id, run.id)
        spool = Spool(self._objects, folder, lambda page: self._note_page(execution, run, page))
        pace = self._paces.setdefault(owner, Pace())
        longest_cell = self.limits.longest_cell
        execution = Execution(run, self.lender, spool, pace, longest_cell=longest_cell)
        self._running[run.id] = execution

        async def started(backend: "Backend") -> None:
            await self._note_backend(run, backend)

        async def ended(ending: Ending) -> None:
            if await self._finish(run, ending) and ending.without_rows:
                await self._remove_partial(run)

        await self.announce(owner, run.id)
        try:
            await execution.conduct(started, ended)
        except Exception:  # whatever it was, the run is to end
            log.exception("run %s failed on our side", run.id)
            await self._finish(run, Ending(state=FAILED, error=unexpected()))
        finally:
            del self._running[run.id]
            await spool.abandon()
            self._lanes.free_slot()
            self._lanes.wake(owner)

    async def _note_page(self, execution: "Execution", run: RunRow, page: PageRow) -> None:
        columns = msgspec.json.encode(execution.columns).decode()

        async def work(session: Session) -> None:
            runs, pages = Runs(session, run.owner_id), Pages(session, run.owner_id)
            if await pages.append(run.id, page):
                await runs.progress(run.id, columns=columns, rows=page.row_count, size=page.size)

        await _until_written(run, lambda: self.database.transaction(work))
        await self.events.publish(topic_of_run(run.id))

    async def _note_backend(self, run: RunRow, backend: "Backend") -> None:
        def work(session: Session) -> Awaitable[None]:
            runs = Runs(session, run.owner_id)
            return runs.note_backend(run.id, pid=backend.pid, started_at=backend.started_at)

        await _until_written(run, lambda: self.database.write(work))

    async def _finish(self, run: RunRow, ending: Ending) -> bool:
        """False when another terminal state was written first."""

        def work(session: Session) -> Awaitable[RunRow | None]:
            return Runs(session, run.owner_id).finish(run.id, ending, keep=self.keep)

        written = await _until_written(run, lambda: self.database.write(work, reserved=True))
        await self.announce(run.owner_id, run.id)
        return written is not None

    async def _remove_partial(self, run: RunRow) -> None:
        """At once where the store lets us; else the sweep finds them."""
        with contextlib.suppress(HowdahError, TimeoutError):
            async with asyncio.timeout(REMOVE_WITHIN_S):
                await self.results.remove(run.owner_id, run.id)

    # Cancelling

    async def _pass_on_cancel(self, owner: OwnerId, run_id: UUID) -> None:
        if (execution := self._running.get(run_id)) is not None:
            execution.stop(CANCELLED)
        else:
            await self.events.publish(CANCELS, run_id.hex)
        await self.announce(owner, run_id)

    async def _give_up(self, owner: OwnerId, run_id: UUID) -> RunRow:
        """Whoever carries it out will find that it is over."""
        ending = Ending(state=CANCELLED, cancel_outcome=TERMINATED, connection_usable=False)
        await self.database.write(
            lambda session: Runs(session, owner).finish(run_id, ending, keep=self.keep),
            reserved=True,
        )
        await self.announce(owner, run_id)
        return await self._read(owner, run_id, reserved=True)

    async def _until_over(
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
        while not run.is_over and loop.time() < until:
            with contextlib.suppress(TimeoutError, StopAsyncIteration):
                async with asyncio.timeout_at(min(until, loop.time() + POLL_S)):
                    await anext(changes)
            run = await self._read(owner, run_id, reserved=reserved)
        return run

    async def _read(self, owner: OwnerId, run_id: UUID, *, reserved: bool = False) -> RunRow:
        """Raises when there is none of theirs."""
        async with self.database.read(reserved=reserved) as session:
            return await Runs(session, owner).require(run_id)

    async def _abandon_queued(self) -> None:
        abandoned = await self.database.write(
            lambda session: abandon(session, process=self.process, keep=self.keep)
        )
        for orphan in abandoned:
            await self.announce(orphan.owner_id, orphan.id)


@contextlib.asynccontextmanager
async def closing(runner: Runner, *, grace_s: float) -> AsyncIterator[Runner]:
    """The runner while the block runs; its runs end with it."""
    try:
        yield runner
    finally:
        await runner.close(grace_s=grace_s)


async def _until_written(run: RunRow, write: Callable[[], Awaitable[T]]) -> T:
    """Tried until our database is back, so twice must be as good as once; a Conflict is final."""
    pauses = chain(_PAUSES_S, repeat(_PAUSES_S[-1]))
    while True:
        try:
            return await write()
        except Conflict:
            raise
        except HowdahError as error:
            log.warning("what run %s has come to is not written yet: %s", run.id, error.message)
        await asyncio.sleep(next(pauses))


async def _connection_of(session: Session, owner: OwnerId, connection_id: UUID) -> ConnectionRow:
    return await Connections(session, owner).require(connection_id, field="connectionId")
