"""Background task of a runner: cancels, and ends of its runs, that other replicas have written."""

import logging
from contextlib import AbstractAsyncContextManager

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import in_background
from db.events import EventBus
from db.workbench.execution.runner import CANCEL_TOPIC, Runner

log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 1.0


def maintenance(runner: Runner, events: EventBus) -> AbstractAsyncContextManager[None]:
    """Runs the background task while the block runs."""
    return in_background(_watch_for_ever(runner, events), name="runs: watch")


async def _watch_for_ever(runner: Runner, events: EventBus) -> None:
    retry_log = RetryLog(log, "check the active runs for cancel requests")
    async with events.subscribe(CANCEL_TOPIC) as cancels:
        while not cancels.has_ended:
            event = await cancels.next_within(WATCH_INTERVAL_S)
            with retry_log.attempt():
                await runner.stop_ended_elsewhere(event and event.subject)
