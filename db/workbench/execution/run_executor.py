"""Executes the runs that this process has started."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID
from weakref import WeakValueDictionary

from db.concurrency.waiting import TaskSet, cancel_all, wait_up_to
from db.errors import HowdahError
from db.kit.base import OwnerId
from db.runs import Backend, Ending, Failure, RunRow, RunState
from db.workbench.execution.live_notices import LiveNotices
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.request.run_request import RunLimits
from db.workbench.execution.run_failures import internal_error
from db.workbench.execution.run_recorder import CommitWith, RunRecorder
from db.workbench.results.result_store import ResultStore
from db.workbench.results.spool import Spool

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.connections.pools.connection_pool import ReservedConnection
    from db.workbench.copy.interfaces import CopySource
    from db.workbench.execution.statement.batch import Batch
    from db.workbench.execution.statement.connection_use import ConnectionUse
    from db.workbench.execution.statement.lender import Lender
    from db.workbench.execution.statement.statement_run import StatementRun

log = logging.getLogger(__name__)

OpenSource: TypeAlias = "Callable[[RunRow], CopySource]"
OpenBatch: TypeAlias = "Callable[[RunRow], Batch | None]"
AfterRun: TypeAlias = Callable[[RunRow, Ending], Awaitable[None]]
Execution: TypeAlias = Coroutine[Any, Any, RunRow | None]
WrapExecution: TypeAlias = Callable[[RunRow, Execution], Execution]

wrappers: list[WrapExecution] = []
"""Wrap the execution of each run of this process, for traces (decision 0062)."""

INTERRUPT_WITHIN_S = 4.0
REMOVE_WITHIN_S = 5.0
ANNOUNCE_AFTER_S = 0.05
"""The start of a new run, which nobody follows yet, is published if it has not ended by then."""


class RunOpeners(NamedTuple):
    """Open what a run executes instead of SQL of a user: an import, or changes of rows."""

    source: OpenSource
    """Opens the data of a run that imports rows."""
    batch: OpenBatch
    """Returns what is executed instead of the statement, if anything is."""


class RunExecutor:
    """Starts one task for each started run; the task records the run's end whatever happens."""

    def __init__(
        self,
        *,
        recorder: RunRecorder,
        results: ResultStore,
        lender: "Lender",
        on_finished: Callable[[OwnerId], None],
        openers: "RunOpeners",
        after_run: AfterRun | None = None,
    ) -> None:
        """`on_finished` is called after each run that `start` started, with its owner.

        `after_run` is awaited after each statement, before its end is recorded.
        """
        self.running: dict[UUID, StatementRun] = {}
        self._recorder = recorder
        self._results = results
        self._lender = lender
        self._on_finished = on_finished
        self._open_source, self._open_batch = openers
        self._after_run = after_run
        self._ends: dict[tuple[OwnerId, UUID], asyncio.Future[RunRow | None]] = {}
        self._tasks = TaskSet()
        self._throttles: WeakValueDictionary[OwnerId, ReadThrottle] = WeakValueDictionary()

    def start(
        self, run: RunRow, limits: RunLimits, reserved: "ReservedConnection | None" = None
    ) -> None:
        """`reserved` is a connection whose backend was recorded with the run."""
        from db.workbench.execution.statement.connection_use import PooledUse

        self._start(PooledUse(run, self._lender, reserved), limits, on_end=self._on_finished)

    async def execute(
        self, use: "ConnectionUse", limits: RunLimits, commit_with: CommitWith
    ) -> RunRow | None:
        """Executes a started run to its end, on a connection that the caller holds.

        Returns the run as it ended, or None if its end was recorded elsewhere. A caller that is
        cancelled does not stop the run. `commit_with` writes in the transaction of the end.
        """
        return await asyncio.shield(self._start(use, limits, commit_with=commit_with))

    def _start(
        self,
        use: "ConnectionUse",
        limits: RunLimits,
        *,
        commit_with: CommitWith | None = None,
        on_end: Callable[[OwnerId], None] | None = None,
    ) -> "asyncio.Task[RunRow | None]":
        run = use.run
        spool = self._results.spool(
            run.owner_id,
            run.id,
            lambda page: self._recorder.record_page(run, page, execution.columns),
        )
        execution = self._make_execution(use, spool, limits)
        self.running[run.id] = execution
        self._ends[run.owner_id, run.id] = asyncio.get_running_loop().create_future()
        started = _StartedRun(run, execution, spool, limits, commit_with, on_end)
        execute = self._execute(started)
        for wrap in wrappers:
            execute = wrap(run, execute)
        return self._tasks.start(execute, name="runs: run")

    async def wait_until_finished(
        self, owner: OwnerId, run_id: UUID, *, within_s: float
    ) -> RunRow | None:
        """Returns the run as it ended; None if it does not end in time, or does not run here."""
        end = self._ends.get((owner, run_id))
        return None if end is None else await wait_up_to(within_s, asyncio.shield(end))

    def stop(self, run_id: UUID, state: str, error: Failure | None = None) -> bool:
        """Stops a run with the given terminal state; returns False if it does not run here."""
        execution = self.running.get(run_id)
        if execution is not None:
            execution.stop(state, error)
        return execution is not None

    async def close(self, *, grace_s: float) -> None:
        """Interrupts the runs that have not ended after `grace_s`."""
        await self._tasks.wait(grace_s)
        for execution in self.running.values():
            execution.stop(RunState.INTERRUPTED)
        await self._tasks.wait(INTERRUPT_WITHIN_S)
        await cancel_all(self._tasks)

    async def _execute(self, started_run: "_StartedRun") -> RunRow | None:
        run, execution, spool, limits, commit_with, on_end = started_run
        end = self._ends[run.owner_id, run.id]
        announcement = self._announce(run)
        notices = self._follow_notices(run, execution)

        async def started(backend: Backend) -> None:
            await self._recorder.record_backend(run, backend)

        async def ended(ending: Ending) -> bool:
            announcement.cancel()
            notices.close()
            if self._after_run is not None:
                await self._after_run(run, ending)
            written = await self._recorder.finish(
                run, ending, keep=limits.retention, commit_with=commit_with
            )
            if written is not None and ending.rows is not None:
                self._results.keep_recent(run.owner_id, run.id, ending.rows)
            end.set_result(written)
            if written is not None and ending.without_rows:
                await self._delete_partial_result(run)
            return written is not None

        try:
            await execution.run(started, ended)
        except Exception:  # any error: the run must reach a terminal state
            log.exception("run %s failed with an internal error", run.id.hex)
            failed = Ending(state=RunState.FAILED, error=internal_error())
            await self._recorder.finish(run, failed, keep=limits.retention, commit_with=commit_with)
        finally:
            announcement.cancel()
            notices.close()
            del self.running[run.id], self._ends[run.owner_id, run.id]
            if not end.done():
                end.set_result(None)
            await spool.abandon()
            if on_end is not None:
                on_end(run.owner_id)
        return end.result()

    def _announce(self, run: RunRow) -> asyncio.TimerHandle:
        """Publishes the start: at once if the run was queued, and may therefore be followed."""
        is_new = run.revision == 1

        def publish() -> None:
            self._tasks.start(self._recorder.publish_change(run), name="runs: announcement")

        loop = asyncio.get_running_loop()
        return loop.call_later(ANNOUNCE_AFTER_S if is_new else 0, publish)

    def _follow_notices(self, run: RunRow, execution: "StatementRun") -> LiveNotices:
        notices = LiveNotices(
            lambda found: self._recorder.record_notices(run, found),
            lambda writing: self._tasks.start(writing, name="runs: notices"),
        )
        execution.follow_notices(notices.changed)
        return notices

    def _make_execution(
        self, use: "ConnectionUse", spool: Spool, limits: RunLimits
    ) -> "StatementRun":
        from db.workbench.execution.statement.statement_run import StatementRun

        if use.run.source is not None:
            use.batch = self._open_batch(use.run)
            use.copy_in = None if use.batch else self._open_source(use.run)
        throttle = self._throttles.setdefault(use.run.owner_id, ReadThrottle())
        return StatementRun(use, self._lender, spool, throttle, max_cell=limits.max_cell)

    async def _delete_partial_result(self, run: RunRow) -> None:
        """Tries once: `delete_partial_results` retries later."""
        with contextlib.suppress(HowdahError, TimeoutError):
            async with asyncio.timeout(REMOVE_WITHIN_S):
                await self._results.remove(run.owner_id, run.id)


class _StartedRun(NamedTuple):
    """A started run, and what its end needs."""

    run: RunRow
    execution: "StatementRun"
    spool: Spool
    limits: RunLimits
    commit_with: CommitWith | None
    on_end: Callable[[OwnerId], None] | None
