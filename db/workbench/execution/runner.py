"""Submits, cancels and deletes the query runs of users."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from db.errors import Conflict, HowdahError
from db.events import EventBus, Subscription
from db.kit.audit import AuditKind, current_actor, record
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.replicas import Heartbeat, UnendedBackends
from db.runs import (
    ACTIVE,
    CancelOutcome,
    Ending,
    Failure,
    RunQueue,
    RunRow,
    Runs,
    RunState,
    cancel_states,
    interrupt_queued,
)
from db.workbench.drivers import load_drivers
from db.workbench.execution.live_status import publish_change, topic_of_owner, topic_of_run
from db.workbench.execution.request.run_request import RunLimits, RunRequest
from db.workbench.execution.run_executor import AfterRun, RunExecutor, RunOpeners
from db.workbench.execution.run_failures import stopping_error
from db.workbench.execution.run_recorder import CommitWith, RunRecorder
from db.workbench.execution.scheduler import RunScheduler
from db.workbench.execution.session_signals import SessionSignals
from db.workbench.execution.submission import Submissions, SubmittedRun
from db.workbench.results.result_store import ResultStore

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.execution.statement.connection_use import ConnectionUse
    from db.workbench.execution.statement.lender import Lender

CANCEL_TOPIC = "runs:cancel"
CANCEL_WITHIN_S = 1.7
"""Two seconds are promised: the rest is for a process that is busy."""


class CancelResult(NamedTuple):
    """`latency_ms` is the time from the call of `cancel` to the end of the run."""

    run: RunRow
    outcome: str
    latency_ms: int
    connection_usable: bool


class Runner:
    """Submits runs to this process, and cancels and deletes the runs of any process.

    A submitted run starts at once or is queued. The scheduler decides when a queued run starts, the
    executor executes it, and the recorder writes its pages and its end.
    """

    def __init__(
        self,
        *,
        database: Database,
        events: EventBus,
        results: ResultStore,
        lender: "Lender",
        heartbeat: Heartbeat,
        openers: RunOpeners,
        limits: RunLimits = RunLimits(),  # noqa: B008 - immutable
        after_run: AfterRun | None = None,
    ) -> None:
        """`heartbeat` has the number of this process.

        `after_run` is awaited after each statement, before its end is recorded.
        """
        self.signals = SessionSignals(events)
        self._database = database
        self._events = events
        self._results = results
        self._limits = limits
        recorder = RunRecorder(database, events)
        self.figures = recorder.figures
        self._executor = RunExecutor(
            recorder=recorder,
            results=results,
            lender=lender,
            on_finished=self._free_slot,
            openers=openers,
            after_run=after_run,
        )
        self.heartbeat = heartbeat
        heartbeat.on_fenced(self._stop_all)
        self._scheduler = RunScheduler(
            self._start_next,
            self._has_queued,
            lambda owner: events.subscribe(topic_of_owner(owner)),
            slots=limits.process_slots,
        )
        self._submissions = Submissions(
            database,
            events,
            self._executor,
            self._scheduler,
            lender,
            lambda: self._limits,
            heartbeat=heartbeat,
            signals=self.signals,
        )
        self._closing = False

    async def submit(
        self, owner: OwnerId, request: RunRequest, *, key: str | None = None
    ) -> SubmittedRun:
        """Starts or queues a run and returns at once. Repeating a request with its key starts none.

        Raises:
            Unavailable: The server is stopping.
            RateLimited: The owner has too many queued and running runs.
            TooLarge: The texts of the owner's runs are too large together.
        """
        if self._closing:
            raise stopping_error()
        await load_drivers()
        return await self._submissions.submit(owner, request, key)

    @property
    def running(self) -> int:
        """The number of runs that this process executes."""
        return len(self._executor.running)

    @property
    def users_waiting(self) -> int:
        """The number of users whose runs wait for a slot of this process."""
        return self._scheduler.users_waiting

    @property
    def limits(self) -> RunLimits:
        return self._limits

    @property
    def process(self) -> int:
        return self.heartbeat.process

    async def execute(self, use: "ConnectionUse", commit_with: CommitWith) -> RunRow:
        """Executes a started run to its end, on a connection that the caller holds."""
        ended = await self._executor.execute(use, self._limits, commit_with)
        return ended or await self._read(use.run.owner_id, use.run.id)

    def stop(self, run_id: UUID, state: str, error: Failure | None = None) -> bool:
        """Stops a run of this process; returns False if it does not run here."""
        return self._executor.stop(run_id, state, error)

    async def wait_until_finished(self, owner: OwnerId, run_id: UUID, *, within_s: float) -> RunRow:
        """Returns the run once it has ended, or as it is after `within_s`."""
        async with self._events.subscribe(topic_of_run(run_id)) as changes:
            return await self._wait_until_finished(owner, run_id, changes, within_s)

    async def cancel(self, owner: OwnerId, run_id: UUID) -> CancelResult:
        """Ends a run within two seconds, whichever process executes it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._events.subscribe(topic_of_run(run_id)) as changes:
            keep = self._limits.retention
            requested = await self._database.write(
                lambda session: Runs(session, owner).request_cancel(run_id, keep=keep),
                reserved=True,
            )
            if requested is not None:
                await self._forward_cancel(owner, run_id)
            left_s = CANCEL_WITHIN_S - (loop.time() - began)
            run = await self._wait_until_finished(owner, run_id, changes, left_s, reserved=True)
        if not run.is_finished:
            run = await self._force_cancelled(owner, run_id)
        outcome: str = CancelOutcome.ALREADY_FINISHED
        if requested is not None and run.state == RunState.CANCELLED:
            outcome = run.cancel_outcome or CancelOutcome.CANCELLED
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
        await self._results.remove(owner, run_id)

        async def delete(session: Session) -> None:
            await Runs(session, owner).delete_finished(run_id)
            if current_actor.get().is_known:
                kind = AuditKind.QUERY_RUN_DELETED
                await record(session, kind, owner_id=owner, subject_id=run_id)

        await self._database.transaction(delete)

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Starts no more runs, and interrupts those that have not ended after `grace_s`."""
        self._closing = True
        await self._submissions.close()
        await self._scheduler.close()
        with contextlib.suppress(HowdahError):
            await self._interrupt_queued()
        await self._executor.close(grace_s=grace_s)

    # Scheduling

    async def _start_next(self, owner: OwnerId) -> bool:
        """Raises HowdahError if no run was started, or if that is not known."""
        await load_drivers()
        run = await self._database.transaction(
            lambda session: RunQueue(session, owner).claim_next(
                process=self.process,
                executing=self._executor.running,
                max_running=self._limits.max_running,
            )
        )
        if run is None:
            return False
        self._executor.start(run, self._limits)
        return True

    async def _has_queued(self, owner: OwnerId) -> bool:
        async with self._database.read() as session:
            return await RunQueue(session, owner).has_queued(process=self.process)

    def _stop_all(self) -> None:
        """The number of this process is dead: another one has written the ends of its runs."""
        for run_id in self._executor.running:
            self._executor.stop(run_id, RunState.INTERRUPTED)

    def _free_slot(self, owner: OwnerId) -> None:
        self._scheduler.free_slot(owner)

    # Cancellation

    async def _forward_cancel(self, owner: OwnerId, run_id: UUID) -> None:
        if not self._executor.stop(run_id, RunState.CANCELLED):
            await self._events.publish(CANCEL_TOPIC, run_id.hex)
        await publish_change(self._events, owner, run_id)

    async def stop_ended_elsewhere(self, run_id: UUID | None = None) -> None:
        """Stops local runs that another replica has cancelled or ended.

        Reads nothing from the database if `run_id` is given and does not run here.
        """
        running = list(self._executor.running)
        if not running or (run_id is not None and run_id not in running):
            return
        async with self._database.read(reserved=True) as session:
            found = await cancel_states(session, running)
        states = {found_id: (state, wanted) for found_id, state, wanted in found}
        for running_id in running:
            state, wanted = states.get(running_id, (RunState.INTERRUPTED, False))
            if wanted:
                self._executor.stop(running_id, RunState.CANCELLED)
            elif state not in ACTIVE:
                self._executor.stop(running_id, RunState.INTERRUPTED)

    async def _force_cancelled(self, owner: OwnerId, run_id: UUID) -> RunRow:
        """Ends the run in the database: the process that executes it stops when it notices.

        It may be dead or hang, so the next takeover of this process terminates the backend.
        """
        ending = Ending(
            state=RunState.CANCELLED,
            cancel_outcome=CancelOutcome.TERMINATED,
            connection_usable=False,
        )
        keep, process = self._limits.retention, self.process

        async def finish(session: Session) -> None:
            if await Runs(session, owner).finish(run_id, ending, keep=keep) is not None:
                await UnendedBackends(session).add([run_id], process=process)

        await self._database.transaction(finish, reserved=True)
        await publish_change(self._events, owner, run_id)
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
        deadline = asyncio.get_running_loop().time() + within_s
        ended = await self._executor.wait_until_finished(owner, run_id, within_s=within_s)
        if ended is not None:
            return ended
        return await changes.read_until(
            lambda run: run.is_finished,
            lambda: self._read(owner, run_id, reserved=reserved),
            deadline=deadline,
        )

    async def _read(self, owner: OwnerId, run_id: UUID, *, reserved: bool = False) -> RunRow:
        """Raises NotFound or Forbidden if the owner has no such run."""
        async with self._database.read(reserved=reserved) as session:
            return await Runs(session, owner).require(run_id)

    async def _interrupt_queued(self) -> None:
        process, keep = self.process, self._limits.retention
        interrupted = await self._database.write(
            lambda session: interrupt_queued(session, process=process, keep=keep)
        )
        for orphan in interrupted:
            await publish_change(self._events, orphan.owner_id, orphan.id)


@contextlib.asynccontextmanager
async def closing(runner: Runner, *, grace: Callable[[], float]) -> AsyncIterator[Runner]:
    """Closes the runner at the end of the block."""
    try:
        yield runner
    finally:
        await runner.close(grace_s=grace())
