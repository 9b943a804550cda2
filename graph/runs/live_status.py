"""Live status of query runs, at a rate that a client can follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

from db.events import Watch, WatchClosed, wait_any_changed
from db.runs import RunRow, RunState
from db.workbench.live.values import NOTHING, LiveSample
from graph.context import Context
from graph.kit.followed_rows import require_followed
from graph.runs.live_samples import LiveSampleById

PROGRESS_INTERVAL_S = 0.3
"""Minimum time between two progress updates. A change of state is sent at once."""


async def follow_run(
    context: Context, run_id: UUID, *, sampled: bool = False
) -> AsyncIterator[RunRow]:
    """Yields the current run, then its changes until it has ended.

    With `sampled`, `LiveSampleById` of the context has the sample of the yielded run.

    Raises:
        NotFound: The viewer has no such run, or it was deleted.
    """
    services, owner = context.services, context.owner
    with contextlib.suppress(WatchClosed):
        async with AsyncExitStack() as stack:
            watch = await stack.enter_async_context(services.live_status.run(owner, run_id))
            run = require_followed(await watch.current(), "run")
            follower = _RunFollower(context, watch, run)
            yield follower.run
            while not follower.run.is_finished:
                if sampled and follower.run.state == RunState.RUNNING:
                    sampled = False  # the samples are followed from now on
                    samples = services.live_samples.follow(owner, run_id)
                    follower.samples = await stack.enter_async_context(samples)
                await follower.wait_update()
                yield follower.run


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


class _RunFollower:
    """The run as it was sent last, and the sample that was sent with it."""

    def __init__(self, context: Context, runs: Watch[RunRow | None], run: RunRow) -> None:
        self.run = run
        self.samples: Watch[LiveSample] | None = None
        self._context = context
        self._runs = runs
        self._sample = NOTHING
        self._prime()

    async def wait_update(self) -> None:
        """Takes the run at its next change of state, or its progress after the interval."""
        deadline = asyncio.get_running_loop().time() + PROGRESS_INTERVAL_S
        sent, sent_sample = self.run, self._sample
        await self._take_change()
        while (self.run, self._sample) == (sent, sent_sample):
            await self._take_change()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self.run.state == sent.state:
                    await self._take_change()
        self._prime()

    async def _take_change(self) -> None:
        if self.samples is None:
            self.run = require_followed(await self._runs.next_change(), "run")
            return
        await wait_any_changed(self._runs, self.samples)
        if self._runs.has_changed:
            self.run = require_followed(await self._runs.next_change(), "run")
        if self.samples.has_changed:
            self._sample = await self.samples.next_change()

    def _prime(self) -> None:
        LiveSampleById.of(self._context).prime(self.run.id, self._sample)


def _states(runs: Sequence[RunRow]) -> list[tuple[UUID, str]]:
    return [(run.id, run.state) for run in runs]
