"""The end of a server, gently: no new work, streams ended, what runs may finish."""

import asyncio
import contextlib
from collections.abc import Iterator


class Shutdown:
    """Told once that the server stops; tells everything that would otherwise go on for ever."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._streams = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    @property
    def streams(self) -> int:
        """How many sockets and streams are open."""
        return self._streams

    def begin(self) -> None:
        self._begun.set()

    async def wait(self) -> None:
        await self._begun.wait()

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Hold this while a socket or a stream is open."""
        self._streams += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._quiet.set()

    async def streams_ended(self) -> None:
        await self._quiet.wait()
