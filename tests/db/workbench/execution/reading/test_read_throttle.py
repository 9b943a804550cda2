"""Runs that process rows leave the event loop to others; those of one owner share a turn."""

import asyncio
import time

from db.workbench.execution.reading.read_throttle import GROWN_S, ReadThrottle
from tests.fixtures.patience import patience

CHUNK_S = 0.0001


def process_chunk() -> None:
    until = time.monotonic() + CHUNK_S
    while time.monotonic() < until:
        pass


async def test_read_throttle_lets_others_run_while_one_run_reads() -> None:
    throttle, chunks = ReadThrottle(), 500

    async def read() -> None:
        for _ in range(chunks):  # all of them have arrived
            await throttle.yield_to_others()
            process_chunk()

    reading, iterations = asyncio.create_task(read()), 0
    while not reading.done():
        await asyncio.sleep(0)
        iterations += 1
    assert iterations >= chunks * CHUNK_S / GROWN_S / 2


async def test_read_throttle_lets_one_reader_in_per_iteration() -> None:
    throttle = ReadThrottle()
    seen: list[tuple[int, int]] = []
    now = 0

    async def read(reader: int) -> None:
        for _ in range(50):
            await throttle.yield_to_others()
            seen.append((now, reader))
            process_chunk()

    reading = asyncio.gather(*map(read, range(4)))
    while not reading.done():
        now += 1
        await asyncio.sleep(0)
    await reading
    assert len(seen) == 200
    iterations = {iteration for iteration, _ in seen}
    assert len(set(seen)) == len(iterations)


async def test_read_throttle_survives_cancelled_reader() -> None:
    throttle = ReadThrottle()
    bursts = [asyncio.ensure_future(throttle.yield_to_others()) for _ in range(5)]
    await asyncio.sleep(0)
    for burst in bursts[:3]:
        burst.cancel()
    async with patience():
        await asyncio.gather(*bursts[3:])
