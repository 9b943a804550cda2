"""Writes the progress and the end of executing runs to the database, and publishes the changes."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeAlias, TypeVar

import msgspec

from db.concurrency.waiting import retry_while_away
from db.distributions import Distribution
from db.errors import Conflict
from db.events import EventBus
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import (
    Backend,
    Column,
    Ending,
    PageRow,
    ResultPages,
    RunRow,
    Runs,
    RunState,
    ServerNotice,
)
from db.workbench.execution.live_status import publish_change, topic_of_run

log = logging.getLogger(__name__)

URGENT = (RunState.CANCELLED, RunState.TIMED_OUT, RunState.INTERRUPTED)
OWN_STATES = (RunState.SUCCEEDED, RunState.FAILED)
"""No process writes these but the one that executes the run."""

T = TypeVar("T")
CommitWith: TypeAlias = Callable[[Session], Awaitable[object]]
"""Writes in the transaction that records the end of a run, before it; may be repeated."""


class RunFigures:
    """The runs that this process has ended, also those that it took over from another one."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        """Ended runs by terminal state."""
        self.durations = Distribution()
        self.queue_times = Distribution()

    def add(self, run: RunRow) -> None:
        self.ended[run.state] += 1
        if run.started_at is not None:
            self.queue_times.add(max(0.0, (run.started_at - run.created_at).total_seconds()))
            if run.finished_at is not None:
                self.durations.add((run.finished_at - run.started_at).total_seconds())


class RunRecorder:
    """Writes until the database is available: what a statement did must be recorded."""

    def __init__(self, database: Database, events: EventBus) -> None:
        self._database = database
        self._events = events
        self.figures = RunFigures()

    async def record_backend(self, run: RunRow, backend: Backend) -> None:
        """Raises Conflict if the run has ended, so its statement must not be sent."""

        def work(session: Session) -> Awaitable[None]:
            return Runs(session, run.owner_id).record_backend(run.id, backend)

        await _with_retry(run, lambda: self._database.write(work))

    async def record_page(
        self, run: RunRow, page: PageRow, columns: Sequence[Column] | None
    ) -> None:
        encoded = msgspec.json.encode(columns).decode()

        async def work(session: Session) -> None:
            runs, pages = Runs(session, run.owner_id), ResultPages(session, run.owner_id)
            if await pages.append(run.id, page):
                await runs.add_page_totals(
                    run.id, columns=encoded, rows=page.row_count, size=page.size
                )

        await _with_retry(run, lambda: self._database.transaction(work))
        await self._events.publish(topic_of_run(run.id))

    async def record_notices(self, run: RunRow, notices: Sequence[ServerNotice]) -> int:
        """Returns the size of the text. Tries once: the end of the run has all notices."""
        encoded = msgspec.json.encode(notices).decode()

        def work(session: Session) -> Awaitable[bool]:
            return Runs(session, run.owner_id).record_notices(run.id, encoded)

        if await self._database.write(work):
            await self._events.publish(topic_of_run(run.id))
        return len(encoded)

    async def finish(
        self,
        run: RunRow,
        ending: Ending,
        *,
        keep: timedelta,
        commit_with: CommitWith | None = None,
    ) -> RunRow | None:
        """Returns the run as it ended, or None if another terminal state was written first."""

        def finish(session: Session) -> Awaitable[RunRow | None]:
            return Runs(session, run.owner_id).finish(run.id, ending, keep=keep)

        async def finish_with(session: Session) -> RunRow | None:
            if commit_with is not None:
                await commit_with(session)
            return await finish(session)

        def write() -> Awaitable[RunRow | None]:
            is_urgent = ending.state in URGENT  # promised also with an exhausted pool
            if is_urgent or commit_with is not None:
                return self._database.transaction(finish_with, reserved=is_urgent)
            return self._database.write(finish)  # one statement for the runs that end at once

        written = await _with_retry(run, write)
        if written is None and ending.state in OWN_STATES:
            written = await _with_retry(run, lambda: self._find_end(run, ending))
        if written is not None:
            self.figures.add(written)
        await self.publish_change(run)
        return written

    async def _find_end(self, run: RunRow, ending: Ending) -> RunRow | None:
        """The run if it has ended so: an earlier attempt lost the connection when it committed."""
        async with self._database.read(reserved=True) as session:
            found = await Runs(session, run.owner_id).get(run.id)
        return found if found is not None and found.state == ending.state else None

    async def publish_change(self, run: RunRow) -> None:
        await publish_change(self._events, run.owner_id, run.id)


async def _with_retry(run: RunRow, write: Callable[[], Awaitable[T]]) -> T:
    """Retries until the database is available again; `write` must be idempotent.

    Raises:
        Conflict: The run has another state; not retried.
    """
    what = f"write the state of run {run.id.hex}"
    return await retry_while_away(write, log, what, unless=(Conflict,))
