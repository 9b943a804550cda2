"""Writes the progress and the end of executing runs to the database, and publishes the changes."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec

from db.errors import Conflict, HowdahError
from db.events import EventBus
from db.postgres.engine import Database, Session
from db.runs import Column, Ending, PageRow, ResultPages, RunRow, Runs
from db.waiting import Backoff, retry
from db.workbench.execution.live_status import publish_change, topic_of_run

if TYPE_CHECKING:  # psycopg is imported with the first run, not at the start
    from db.workbench.execution.statement.statement_run import Backend

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=0.05, longest_s=2.0)

T = TypeVar("T")


class RunRecorder:
    """Writes until the database is available: what a statement did must be recorded."""

    def __init__(self, database: Database, events: EventBus) -> None:
        self._database = database
        self._events = events

    async def record_backend(self, run: RunRow, backend: "Backend") -> None:
        """Raises Conflict if the run has ended, so its statement must not be sent."""

        def work(session: Session) -> Awaitable[None]:
            runs = Runs(session, run.owner_id)
            return runs.record_backend(run.id, pid=backend.pid, started_at=backend.started_at)

        await _write_with_retry(run, lambda: self._database.write(work))

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

        await _write_with_retry(run, lambda: self._database.transaction(work))
        await self._events.publish(topic_of_run(run.id))

    async def finish(self, run: RunRow, ending: Ending, *, keep: timedelta) -> bool:
        """Returns False if another terminal state was written first."""

        def work(session: Session) -> Awaitable[RunRow | None]:
            return Runs(session, run.owner_id).finish(run.id, ending, keep=keep)

        written = await _write_with_retry(run, lambda: self._database.write(work, reserved=True))
        await self.publish_change(run)
        return written is not None

    async def publish_change(self, run: RunRow) -> None:
        await publish_change(self._events, run.owner_id, run.id)


async def _write_with_retry(run: RunRow, write: Callable[[], Awaitable[T]]) -> T:
    """Retries until the database is available again; `write` must be idempotent.

    Raises:
        Conflict: The run has another state; not retried.
    """
    return await retry(
        write,
        on=(HowdahError,),
        unless=(Conflict,),
        backoff=BACKOFF,
        report=lambda error: log.warning(
            "cannot write the state of run %s, will retry: %s", run.id, error
        ),
    )
