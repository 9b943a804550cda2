"""Runs as they change, told at a pace that a reader can follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from db.errors import NotFound
from db.runs import RunRow
from db.workbench.execution.live_status import LiveStatusClosed, LiveView
from graph.context import Context

EVERY_S = 0.3
"""Progress is told no more often; a change of state at once."""


async def follow_run(context: Context, run_id: UUID) -> AsyncIterator[RunRow]:
    """The run as it is, then its changes until it has ended."""
    live_status = context.services.runner.live_status
    with contextlib.suppress(LiveStatusClosed):
        async with live_status.run(context.owner, run_id) as view:
            told = _found(await view.current())
            yield told
            while not told.is_finished:
                told = await _worth_telling(view, told)
                yield told


async def follow_active(context: Context) -> AsyncIterator[Sequence[RunRow]]:
    """Those that are queued or running, whenever one begins or ends."""
    live_status = context.services.runner.live_status
    with contextlib.suppress(LiveStatusClosed):
        async with live_status.active(context.owner) as view:
            told = await view.current()
            yield told
            while True:
                now = await view.next_change()
                if _states(now) != _states(told):
                    yield now
                    told = now


async def _worth_telling(view: LiveView[RunRow | None], told: RunRow) -> RunRow:
    """Its next state; or, once it is time, how far it has come by then."""
    due = asyncio.get_running_loop().time() + EVERY_S
    now = _found(await view.next_change())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(due):
            while now.state == told.state:
                now = _found(await view.next_change())
    return now


def _found(run: RunRow | None) -> RunRow:
    if run is None:
        raise NotFound("There is no such run.", hint="It may have been deleted.", field="id")
    return run


def _states(runs: Sequence[RunRow]) -> list[tuple[UUID, str]]:
    return [(run.id, run.state) for run in runs]
