"""Runs as they change, on whichever replica: events wake, the database tells."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from db.errors import NotFound
from db.events import Subscription
from db.runs import RunRow, Runs
from db.workbench.runner import topic_of_owner, topic_of_run
from graph.context import Context

EVERY_S = 0.3
"""Progress is told no more often; a change of state at once."""


async def follow_run(context: Context, run_id: UUID) -> AsyncIterator[RunRow]:
    """The run as it is, then its changes until it has ended."""
    async with context.services.events.subscribe(topic_of_run(run_id)) as changes:
        told = await _read(context, run_id)
        if told is None:
            raise NotFound("There is no such run.", hint="It may have been deleted.", field="id")
        yield told
        while not told.is_over:
            now = await _changed(context, changes, told)
            if now is None:
                return
            told = now
            yield told


async def follow_active(context: Context) -> AsyncIterator[Sequence[RunRow]]:
    """Those that are queued or running, whenever one begins or ends."""
    async with context.services.events.subscribe(topic_of_owner(context.owner)) as changes:
        told: Sequence[RunRow] | None = None
        while True:
            now = await context.read(Runs, Runs.active)
            if told is None or _states(now) != _states(told):
                yield now
                told = now
            try:
                await anext(changes)
            except StopAsyncIteration:
                return


async def _changed(context: Context, changes: Subscription, told: RunRow) -> RunRow | None:
    """The next state of the run worth telling; None when there is none to come."""
    loop = asyncio.get_running_loop()
    due = loop.time() + EVERY_S
    now: RunRow | None = told
    while now is not None and now.state == told.state:
        is_news = now.revision != told.revision
        if is_news and loop.time() >= due:
            return now
        try:
            async with asyncio.timeout_at(due if is_news else None):
                await anext(changes)
        except TimeoutError:
            return now
        except StopAsyncIteration:
            return None
        now = await _read(context, told.id)
    return now


async def _read(context: Context, run_id: UUID) -> RunRow | None:
    return await context.read(Runs, lambda runs: runs.get(run_id))


def _states(runs: Sequence[RunRow]) -> list[tuple[UUID, str]]:
    return [(run.id, run.state) for run in runs]
