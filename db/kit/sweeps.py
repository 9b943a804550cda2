"""Throws away what has had its time, a little at a time, on every replica."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

EVERY_S = 600.0

Sweep = Callable[[], Awaitable[int]]
"""Removes at most a batch, and answers how many that were; two at once do no harm."""


@contextlib.asynccontextmanager
async def sweep_in_background(
    sweeps: Mapping[str, Sweep], *, every_s: float = EVERY_S
) -> AsyncIterator[None]:
    """Sweeps in the background while the block runs."""
    task = asyncio.create_task(_sweep_periodically(sweeps, every_s), name="sweeps")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def sweep_all(sweeps: Mapping[str, Sweep]) -> dict[str, int]:
    """Everything there is to throw away now, by what it was."""
    removed: dict[str, int] = {}
    for name, sweep in sweeps.items():
        removed[name] = 0
        while batch := await sweep():
            removed[name] += batch
    return removed


async def _sweep_periodically(sweeps: Mapping[str, Sweep], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.0))  # noqa: S311 - replicas take turns
        removed: dict[str, int] = {}
        for name, sweep in sweeps.items():
            try:
                removed |= await sweep_all({name: sweep})
            except Exception:  # the next round may find the database back
                log.exception("sweeping %s failed; it is tried again", name)
        if any(removed.values()):
            log.info("swept %s", removed)
