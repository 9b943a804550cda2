"""SIGTERM and SIGINT: the first signal stops gracefully, a second Ctrl+C exits at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import uvloop


class Stop:
    """The action of a signal. By default, it cancels the work."""

    def __init__(self, by: Callable[[], object]) -> None:
        self.by = by
        self.asked = False

    def ask(self, number: int) -> None:
        if self.asked and number == signal.SIGINT:
            os._exit(130)  # no cleanup: the embedded PostgreSQL recovers at the next start
        self.asked = True
        self.by()


Work: TypeAlias = Callable[[Stop], Coroutine[Any, Any, None]]


def run(work: Work) -> None:
    """Run the work on uvloop. A stop by a signal is not an error."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_stoppable(work))


async def _stoppable(work: Work) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - the runner made one
    stop = Stop(by=task.cancel)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.ask, number)
    try:
        await work(stop)
    except asyncio.CancelledError:
        if not stop.asked:
            raise
