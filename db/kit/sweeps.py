"""Deletes expired data in the background, in batches, in one process of all replicas."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import in_background
from db.errors import HowdahError, NotFound

log = logging.getLogger(__name__)

EVERY_S = 600.0
GIVE_UP_AFTER = 10
"""So many failures in a batch are those of the store itself, and each may take long."""

Sweep = Callable[[], Awaitable[int]]
"""Removes up to one batch and returns its size. Safe to run concurrently."""


class SweepFigures:
    """What the sweeps of this process have done, by name."""

    def __init__(self) -> None:
        self.removed: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.succeeded_at: dict[str, float] = {}
        """When each last succeeded, began to be repeated, or was left to another process.

        A Unix time.
        """


@contextlib.asynccontextmanager
async def sweep_in_background(
    sweeps: Mapping[str, Sweep],
    figures: SweepFigures | None = None,
    *,
    is_in_charge: Callable[[], Awaitable[bool]],
    every_s: float = EVERY_S,
) -> AsyncIterator[None]:
    """Runs the sweeps periodically until the block ends.

    Some read all runs, so only the process that `is_in_charge` sweeps. It is asked each time: if
    that process dies, the next one is in charge. If nothing is known, several may sweep.
    """
    figures = figures or SweepFigures()
    figures.succeeded_at |= dict.fromkeys(sweeps, time.time())
    figures.removed.update(dict.fromkeys(sweeps, 0))
    figures.failures.update(dict.fromkeys(sweeps, 0))
    work = _sweep_periodically(sweeps, figures, is_in_charge, every_s)
    async with in_background(work, name="sweeps"):
        yield


async def sweep_all(sweeps: Mapping[str, Sweep]) -> dict[str, int]:
    """Runs each sweep until nothing is left; returns the number removed by name."""
    removed: dict[str, int] = {}
    for name, sweep in sweeps.items():
        removed[name] = 0
        while batch := await sweep():
            removed[name] += batch
    return removed


async def remove_each(removals: Mapping[str, Callable[[], Awaitable[None]]]) -> int:
    """Removes a batch one by one, and returns the number removed: one that stays delays no other.

    Lists of batches have a random order, or GIVE_UP_AFTER that cannot be removed would keep all
    that are behind them for ever.

    Raises:
        HowdahError: None could be removed.
    """
    removed = 0
    failures: dict[str, HowdahError] = {}
    for name, remove in removals.items():
        try:
            await remove()
        except NotFound:  # removed by another replica; if not, no progress, or a sweep had no end
            continue
        except HowdahError as error:
            failures[name] = error
            if len(failures) == GIVE_UP_AFTER:
                break
        else:
            removed += 1
    if failures and not removed:
        for name, failure in failures.items():
            log.warning("cannot remove %s: %s", name, failure.message)
        raise next(iter(failures.values()))
    return removed


async def _sweep_periodically(
    sweeps: Mapping[str, Sweep],
    figures: SweepFigures,
    is_in_charge: Callable[[], Awaitable[bool]],
    every_s: float,
) -> None:
    asking = RetryLog(log, "find out which process sweeps")
    retry_log = {name: RetryLog(log, f"sweep {name}") for name in sweeps}
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter between replicas
        with asking.attempt():
            if not await is_in_charge():
                figures.succeeded_at |= dict.fromkeys(sweeps, time.time())
                continue
        removed: dict[str, int] = {}
        for name, sweep in sweeps.items():
            try:
                removed |= await sweep_all({name: sweep})
                figures.removed[name] += removed[name]
                figures.succeeded_at[name] = time.time()
            except Exception as error:  # noqa: BLE001 - it may be available at the next sweep
                figures.failures[name] += 1
                retry_log[name].failed(error)
            else:
                retry_log[name].succeeded()
        if any(removed.values()):
            log.info("swept %s", removed)
