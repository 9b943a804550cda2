"""Writes the notices of a running run, so that its followers see them before it ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from db.errors import HowdahError
from db.runs import ServerNotice

log = logging.getLogger(__name__)

INTERVAL_S = 0.3
"""Time from the first notice to the first write. A run that ends sooner has no such write."""
BYTES_PER_S = 200_000
"""All notices are written again each time, so writes of many long ones are further apart."""


class LiveNotices:
    """Starts a timer with the first notice. A run without notices has none."""

    def __init__(
        self,
        write: Callable[[Sequence[ServerNotice]], Awaitable[int]],
        in_background: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`write` returns the size of what it wrote; `in_background` starts a task."""
        self._write = write
        self._in_background = in_background
        self._notices: Sequence[ServerNotice] = ()
        self._is_scheduled = self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def changed(self, notices: Sequence[ServerNotice]) -> None:
        """Call with all notices of the run when there is one more."""
        self._notices = notices
        if not self._is_scheduled:
            self._schedule()

    def close(self) -> None:
        """Call before the end of the run is written, with which all notices are written."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._is_scheduled = not self._is_closed
        if self._is_scheduled:
            loop = asyncio.get_running_loop()
            pause_s = max(INTERVAL_S, self._not_before - loop.time())
            self._timer = loop.call_later(pause_s, lambda: self._in_background(self._write_all()))

    async def _write_all(self) -> None:
        written = tuple(self._notices)
        try:
            size = await self._write(written)
        except HowdahError as error:
            log.info("cannot write the notices of a running run: %s", error.message)
            size = 0
        self._not_before = asyncio.get_running_loop().time() + size / BYTES_PER_S
        self._is_scheduled = False
        if len(self._notices) > len(written):
            self._schedule()
