"""Executes the runs that this process has claimed."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID
from weakref import WeakValueDictionary

from db.errors import HowdahError
from db.kit.base import OwnerId
from db.runs import Ending, RunRow, RunState
from db.workbench.drivers import load_drivers
from db.workbench.execution.run_recorder import RunRecorder
from db.workbench.execution.run_request import RunLimits
from db.workbench.execution.statement.read_throttle import ReadThrottle
from db.workbench.execution.statement.run_failures import internal_error
from db.workbench.results.result_store import ResultStore, Spool

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.execution.statement.statement_run import Backend, Lender, StatementRun

log = logging.getLogger(__name__)

INTERRUPT_WITHIN_S = 4.0
REMOVE_WITHIN_S = 5.0


class RunExecutor:
    """Starts one task for each claimed run; the task records the run's end whatever happens."""

    def __init__(
        self,
        *,
        recorder: RunRecorder,
        results: ResultStore,
        lender: "Lender",
        on_finished: Callable[[OwnerId], None],
    ) -> None:
        """`on_finished` is called after each run with its owner."""
        self.running: dict[UUID, StatementRun] = {}
        self._recorder = recorder
        self._results = results
        self._lender = lender
        self._on_finished = on_finished
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttles: WeakValueDictionary[OwnerId, ReadThrottle] = WeakValueDictionary()

    def start(self, run: RunRow, limits: RunLimits) -> None:
        task = asyncio.create_task(self._execute(run, limits), name="runs: run")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self, run_id: UUID, state: str) -> bool:
        """Stops a run with the given terminal state; returns False if it does not run here."""
        execution = self.running.get(run_id)
        if execution is not None:
            execution.stop(state)
        return execution is not None

    async def close(self, *, grace_s: float) -> None:
        """Interrupts the runs that have not ended after `grace_s`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for execution in self.running.values():
            execution.stop(RunState.INTERRUPTED)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=INTERRUPT_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _execute(self, run: RunRow, limits: RunLimits) -> None:
        await load_drivers()
        spool = self._results.spool(
            run.owner_id,
            run.id,
            lambda page: self._recorder.record_page(run, page, execution.columns),
        )
        execution = self._make_execution(run, spool, limits)
        self.running[run.id] = execution

        async def started(backend: "Backend") -> None:
            await self._recorder.record_backend(run, backend)

        async def ended(ending: Ending) -> None:
            is_first = await self._recorder.finish(run, ending, keep=limits.retention)
            if is_first and ending.without_rows:
                await self._delete_partial_result(run)

        await self._recorder.publish_change(run)
        try:
            await execution.run(started, ended)
        except Exception:  # any error: the run must reach a terminal state
            log.exception("run %s failed with an internal error", run.id)
            failed = Ending(state=RunState.FAILED, error=internal_error())
            await self._recorder.finish(run, failed, keep=limits.retention)
        finally:
            del self.running[run.id]
            await spool.abandon()
            self._on_finished(run.owner_id)

    def _make_execution(self, run: RunRow, spool: Spool, limits: RunLimits) -> "StatementRun":
        from db.workbench.execution.statement.statement_run import StatementRun

        throttle = self._throttles.setdefault(run.owner_id, ReadThrottle())
        return StatementRun(run, self._lender, spool, throttle, max_cell=limits.max_cell)

    async def _delete_partial_result(self, run: RunRow) -> None:
        """Tries once: `delete_partial_results` retries later."""
        with contextlib.suppress(HowdahError, TimeoutError):
            async with asyncio.timeout(REMOVE_WITHIN_S):
                await self._results.remove(run.owner_id, run.id)
