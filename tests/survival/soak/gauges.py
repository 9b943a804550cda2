"""What the processes of the replicas hold, and whether it grows while the load stays the same."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from tests.survival.soak.replicas import Replicas

INSPECTOR = Path(__file__).with_name("inspect")
EVERY_S = 2.0
WRITTEN_S = 60.0


class Sample(NamedTuple):
    """What all processes hold together, or by how much it has grown.

    Together, because a session moves from one to another when it is opened again.
    """

    memory_mb: float
    descriptors: float
    connections: float
    tasks: float
    objects: float


class Gauges:
    """Samples of the replicas, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: list[Sample] = []

    @property
    def environment(self) -> dict[str, str]:
        """For the servers, which then answer SIGUSR1."""
        return {"PYTHONPATH": str(INSPECTOR), "SOAK_GAUGES": str(self.folder)}

    async def watch(self, replicas: Replicas, is_over: Callable[[], bool]) -> None:
        """Requires that all replicas run."""
        while not is_over():
            servers = [place.server for place in replicas.places if place.server is not None]
            each = [await self._take(server.pid) for server in servers]
            self.samples.append(Sample(*map(sum, zip(*each, strict=True))))
            await asyncio.sleep(EVERY_S)

    async def _take(self, pid: int) -> Sample:
        process = psutil.Process(pid)
        written = self.folder / f"{pid}.json"
        written.unlink(missing_ok=True)
        process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(WRITTEN_S):
            while not written.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        counts = json.loads(written.read_text(encoding="utf-8"))
        return Sample(
            memory_mb=process.memory_info().rss / 1e6,
            descriptors=process.num_fds(),
            connections=len(process.net_connections("tcp")),
            tasks=counts["tasks"],
            objects=counts["objects"],
        )

    def growth(self) -> Sample:
        """From the second quarter of the samples to the last. In the first one caches fill."""
        quarter = max(1, len(self.samples) // 4)
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        return Sample(*map(_difference, zip(*early, strict=True), zip(*late, strict=True)))


def _difference(early: tuple[float, ...], late: tuple[float, ...]) -> float:
    return median(late) - median(early)
