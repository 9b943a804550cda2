"""Live status of query runs, at a rate that a client can follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from db.errors import NotFound
from db.events import Watch, WatchClosed
from db.runs import RunRow
from graph.context import Context

PROGRESS_INTERVAL_S = 0.3
"""Minimum time between two progress updates. A change of state is sent at once."""


async def follow_run(context: Context, run_id: UUID) -> AsyncIterator[RunRow]:
    """Yields the current run, then its changes until it has ended.

    Raises:
        NotFound: The viewer has no such run, or it was deleted.
    """
    live_status = context.services.live_status
    with contextlib.suppress(WatchClosed):
        async with live_status.run(context.owner, run_id) as watch:
            run = _require(await watch.current())
            yield run
            while not run.is_finished:
                run = await _next_update(watch, run)
                yield run


async def follow_active(context: Context) -> AsyncIterator[Sequence[RunRow]]:
    """Yields the queued and running runs now, and again when one changes its state."""
    live_status = context.services.live_status
    with contextlib.suppress(WatchClosed):
        async with live_status.active(context.owner) as watch:
            sent = await watch.current()
            yield sent
            while True:
                current = await watch.next_change()
                if _states(current) != _states(sent):
                    yield current
                    sent = current


async def _next_update(watch: Watch[RunRow | None], sent: RunRow) -> RunRow:
    """Returns the run at its next change of state, or its progress after the interval."""
    deadline = asyncio.get_running_loop().time() + PROGRESS_INTERVAL_S
    run = _require(await watch.next_change())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            while run.state == sent.state:
                run = _require(await watch.next_change())
    return run


def _require(run: RunRow | None) -> RunRow:
    if run is None:
        raise NotFound(
            "This run does not exist.",
            hint="Check the ID; the run may have been deleted.",
            field="id",
        )
    return run


def _states(runs: Sequence[RunRow]) -> list[tuple[UUID, str]]:
    return [(run.id, run.state) for run in runs]
