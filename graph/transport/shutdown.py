"""Graceful shutdown: no new work, open streams are closed, running operations may finish."""

import asyncio
import contextlib
from collections.abc import Iterator


class Shutdown:
    """Signals the shutdown to sockets and streams, and counts those that are open."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._streams = 0
        self._no_streams = asyncio.Event()
        self._no_streams.set()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    @property
    def streams(self) -> int:
        """The number of open sockets and streams."""
        return self._streams

    def begin(self) -> None:
        self._begun.set()

    async def wait(self) -> None:
        await self._begun.wait()

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Hold this while a socket or a stream is open."""
        self._streams += 1
        self._no_streams.clear()
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._no_streams.set()

    async def streams_ended(self) -> None:
        await self._no_streams.wait()
