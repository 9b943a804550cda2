"""What the processes of the replicas hold, and whether it grows while the load stays the same."""

import asyncio
import contextlib
import json
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from tests.survival.soak.replicas import Replicas

INSPECTOR = Path(__file__).with_name("inspect")
EVERY_S = 2.0
WRITTEN_S = 30.0


class Sample(NamedTuple):
    """Numbers of what a process holds, or by how much they have grown."""

    memory_mb: float
    descriptors: float
    connections: float
    tasks: float
    objects: float


class Gauges:
    """Samples of each process, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: dict[int, list[Sample]] = defaultdict(list)

    @property
    def environment(self) -> dict[str, str]:
        """For the servers, which then answer SIGUSR1."""
        return {"PYTHONPATH": str(INSPECTOR), "SOAK_GAUGES": str(self.folder)}

    async def watch(self, replicas: Replicas, is_over: Callable[[], bool]) -> None:
        while not is_over():
            await asyncio.sleep(EVERY_S)
            for place in replicas.places:
                if place.server is not None:
                    with contextlib.suppress(psutil.NoSuchProcess, TimeoutError):
                        await self._take(place.server.pid)

    async def _take(self, pid: int) -> None:
        process = psutil.Process(pid)
        written = self.folder / f"{pid}.json"
        written.unlink(missing_ok=True)
        process.send_signal(signal.SIGUSR1)
        ends_at = time.monotonic() + WRITTEN_S
        while not written.exists():
            if time.monotonic() > ends_at:
                raise TimeoutError
            await asyncio.sleep(0.02)
        counts = json.loads(written.read_text(encoding="utf-8"))
        sample = Sample(
            memory_mb=process.memory_info().rss / 1e6,
            descriptors=process.num_fds(),
            connections=len(process.net_connections("tcp")),
            tasks=counts["tasks"],
            objects=counts["objects"],
        )
        self.samples[pid].append(sample)

    def growth(self) -> Sample:
        """The largest growth of any process from the second quarter to the last of its samples.

        In the first quarter caches fill.
        """
        grown = [_growth(samples) for samples in self.samples.values() if len(samples) >= 4]
        return Sample(
            *(max((each[at] for each in grown), default=0) for at in range(len(Sample._fields)))
        )


def _growth(samples: list[Sample]) -> Sample:
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return Sample(
        *(
            median(sample[at] for sample in late) - median(sample[at] for sample in early)
            for at in range(len(Sample._fields))
        )
    )
