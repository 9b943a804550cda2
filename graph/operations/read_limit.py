"""Limits the concurrent database reads of one viewer."""

import asyncio
import time
from types import TracebackType

from db.errors import Overloaded

AT_ONCE = 4


class Reads(asyncio.Semaphore):
    """Hold this while reading. If a read fails with Overloaded, all queued reads fail with it."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        super().__init__(at_once)
        self._overloaded: Overloaded | None = None
        self._overloaded_at = 0.0

    async def __aenter__(self) -> None:
        if not self.locked():
            await self.acquire()
            return
        asked_at = time.monotonic()
        await self.acquire()
        if self._overloaded is not None and self._overloaded_at >= asked_at:
            self.release()
            raise self._overloaded

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Overloaded):
            self._overloaded = error
            self._overloaded_at = time.monotonic()
        self.release()
