"""Replicas of a soak, in processes of their own, which are killed and started again."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.fixtures.served import Served, served

START_PAUSE_S = 2.0


class Replica:
    """One place of the group. A killed server is replaced by another process."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.server: Served | None = None
        self.incarnation = 0
        self._folder = folder
        self._environment = environment
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        running = served(self._folder, **self._environment)
        self.server = await self._stack.enter_async_context(running)
        self.incarnation += 1

    async def kill(self) -> None:
        """With SIGKILL."""
        server, self.server = self.server, None
        assert server is not None
        await server.kill("server")
        await self._stack.aclose()

    def freeze(self) -> None:
        """With SIGSTOP."""
        assert self.server is not None
        self.server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.server is not None
        self.server.signal(signal.SIGCONT)

    async def stop(self) -> None:
        """With SIGTERM."""
        self.server = None
        await self._stack.aclose()


class Replicas:
    def __init__(self, places: list[Replica], dice: random.Random) -> None:
        self.places = places
        self._dice = dice

    @classmethod
    @contextlib.asynccontextmanager
    async def started(
        cls, folder: Path, environment: Mapping[str, str], dice: random.Random, *, count: int = 2
    ) -> AsyncIterator["Replicas"]:
        places = [Replica(folder / f"replica{number}", environment) for number in range(count)]
        replicas = cls(places, dice)
        try:
            for place in places:  # one after the other: the first one migrates
                await place.start()
            yield replicas
        finally:
            await replicas.stop()

    def choose(self) -> tuple[Replica, Served]:
        """One that runs. At least one does."""
        place = self._dice.choice([place for place in self.places if place.server is not None])
        assert place.server is not None
        return place, place.server

    async def kill_one(self) -> tuple[Replica, int]:
        """The replica whose server was killed, and the number of that server."""
        place, _ = self.choose()
        incarnation = place.incarnation
        await place.kill()
        return place, incarnation

    async def start_again(self, place: Replica) -> None:
        await asyncio.sleep(self._dice.uniform(0, START_PAUSE_S))
        await place.start()

    async def stop(self) -> None:
        await asyncio.gather(*(place.stop() for place in self.places))
