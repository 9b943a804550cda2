"""Deletes expired data in the background, in batches, on every replica."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

EVERY_S = 600.0

Sweep = Callable[[], Awaitable[int]]
"""Removes up to one batch and returns its size. Safe to run concurrently."""


@contextlib.asynccontextmanager
async def sweep_in_background(
    sweeps: Mapping[str, Sweep], *, every_s: float = EVERY_S
) -> AsyncIterator[None]:
    """Runs the sweeps periodically until the block ends."""
    task = asyncio.create_task(_sweep_periodically(sweeps, every_s), name="sweeps")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def sweep_all(sweeps: Mapping[str, Sweep]) -> dict[str, int]:
    """Runs each sweep until nothing is left; returns the number removed by name."""
    removed: dict[str, int] = {}
    for name, sweep in sweeps.items():
        removed[name] = 0
        while batch := await sweep():
            removed[name] += batch
    return removed


async def _sweep_periodically(sweeps: Mapping[str, Sweep], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter between replicas
        removed: dict[str, int] = {}
        for name, sweep in sweeps.items():
            try:
                removed |= await sweep_all({name: sweep})
            except Exception:  # the database may be available at the next sweep
                log.exception("sweep of %s failed; retrying at the next interval", name)
        if any(removed.values()):
            log.info("swept %s", removed)
