"""Executes the runs that this process has started."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID
from weakref import WeakValueDictionary

from db.errors import HowdahError
from db.kit.base import OwnerId
from db.runs import Backend, Ending, RunRow, RunState
from db.waiting import wait_up_to
from db.workbench.execution.run_recorder import RunRecorder
from db.workbench.execution.run_request import RunLimits
from db.workbench.execution.statement.read_throttle import ReadThrottle
from db.workbench.execution.statement.run_failures import internal_error
from db.workbench.results.result_store import ResultStore, Spool

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.connections.pools.connection_pool import ReservedConnection
    from db.workbench.copy.interfaces import CopySource
    from db.workbench.execution.statement.lender import Lender
    from db.workbench.execution.statement.statement_run import StatementRun

log = logging.getLogger(__name__)

OpenSource: TypeAlias = "Callable[[RunRow], CopySource]"

INTERRUPT_WITHIN_S = 4.0
REMOVE_WITHIN_S = 5.0
ANNOUNCE_AFTER_S = 0.05
"""The start of a new run, which nobody follows yet, is published if it has not ended by then."""


class RunExecutor:
    """Starts one task for each started run; the task records the run's end whatever happens."""

    def __init__(
        self,
        *,
        recorder: RunRecorder,
        results: ResultStore,
        lender: "Lender",
        on_finished: Callable[[OwnerId], None],
        open_source: "OpenSource",
    ) -> None:
        """`on_finished` is called after each run with its owner.

        `open_source` opens the data of a run that imports rows.
        """
        self.running: dict[UUID, StatementRun] = {}
        self._recorder = recorder
        self._results = results
        self._lender = lender
        self._on_finished = on_finished
        self._open_source = open_source
        self._ends: dict[tuple[OwnerId, UUID], asyncio.Future[RunRow | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttles: WeakValueDictionary[OwnerId, ReadThrottle] = WeakValueDictionary()

    def start(
        self, run: RunRow, limits: RunLimits, reserved: "ReservedConnection | None" = None
    ) -> None:
        """`reserved` is a connection whose backend was recorded with the run."""
        spool = self._results.spool(
            run.owner_id,
            run.id,
            lambda page: self._recorder.record_page(run, page, execution.columns),
        )
        execution = self._make_execution(run, spool, limits, reserved)
        self.running[run.id] = execution
        self._ends[run.owner_id, run.id] = asyncio.get_running_loop().create_future()
        self._in_background(self._execute(run, execution, spool, limits), name="runs: run")

    async def wait_until_finished(
        self, owner: OwnerId, run_id: UUID, *, within_s: float
    ) -> RunRow | None:
        """Returns the run as it ended; None if it does not end in time, or does not run here."""
        end = self._ends.get((owner, run_id))
        return None if end is None else await wait_up_to(within_s, asyncio.shield(end))

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

    async def _execute(
        self, run: RunRow, execution: "StatementRun", spool: Spool, limits: RunLimits
    ) -> None:
        end = self._ends[run.owner_id, run.id]
        announcement = self._announce(run)

        async def started(backend: Backend) -> None:
            await self._recorder.record_backend(run, backend)

        async def ended(ending: Ending) -> None:
            announcement.cancel()
            written = await self._recorder.finish(run, ending, keep=limits.retention)
            if written is not None and ending.rows is not None:
                self._results.keep_recent(run.owner_id, run.id, ending.rows)
            end.set_result(written)
            if written is not None and ending.without_rows:
                await self._delete_partial_result(run)

        try:
            await execution.run(started, ended)
        except Exception:  # any error: the run must reach a terminal state
            log.exception("run %s failed with an internal error", run.id)
            failed = Ending(state=RunState.FAILED, error=internal_error())
            await self._recorder.finish(run, failed, keep=limits.retention)
        finally:
            announcement.cancel()
            del self.running[run.id], self._ends[run.owner_id, run.id]
            if not end.done():
                end.set_result(None)
            await spool.abandon()
            self._on_finished(run.owner_id)

    def _announce(self, run: RunRow) -> asyncio.TimerHandle:
        """Publishes the start: at once if the run was queued, and may therefore be followed."""
        is_new = run.revision == 1

        def publish() -> None:
            self._in_background(self._recorder.publish_change(run), name="runs: announcement")

        loop = asyncio.get_running_loop()
        return loop.call_later(ANNOUNCE_AFTER_S if is_new else 0, publish)

    def _make_execution(
        self, run: RunRow, spool: Spool, limits: RunLimits, reserved: "ReservedConnection | None"
    ) -> "StatementRun":
        from db.workbench.execution.statement.statement_run import StatementRun

        throttle = self._throttles.setdefault(run.owner_id, ReadThrottle())
        return StatementRun(
            run,
            self._lender,
            spool,
            throttle,
            max_cell=limits.max_cell,
            reserved=reserved,
            copy_in=None if run.source is None else self._open_source(run),
        )

    async def _delete_partial_result(self, run: RunRow) -> None:
        """Tries once: `delete_partial_results` retries later."""
        with contextlib.suppress(HowdahError, TimeoutError):
            async with asyncio.timeout(REMOVE_WITHIN_S):
                await self._results.remove(run.owner_id, run.id)

    def _in_background(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
