"""Concurrent runs of one owner share the read rate of one run; a single run is not delayed."""

import asyncio

from db.workbench.execution.statement.read_throttle import ReadThrottle


async def test_read_throttle_does_not_delay_single_reader() -> None:
    throttle = ReadThrottle()
    with throttle.reading():
        burst = throttle.yield_to_others()
        try:
            burst.send(None)
        except StopIteration:
            return
    raise AssertionError("it has waited")


async def test_read_throttle_lets_one_reader_in_per_iteration() -> None:
    throttle = ReadThrottle()
    rounds: list[int] = []
    now = 0

    async def read() -> None:
        with throttle.reading():
            await asyncio.sleep(0)  # all have begun
            for _ in range(5):
                await throttle.yield_to_others()
                rounds.append(now)

    reading = asyncio.gather(*(read() for _ in range(4)))
    while not reading.done():
        now += 1
        await asyncio.sleep(0)
    await reading
    while_several = rounds[:-5]
    assert len(rounds) == 20
    assert len(set(while_several)) == len(while_several)


async def test_read_throttle_survives_cancelled_reader() -> None:
    throttle = ReadThrottle()
    with throttle.reading(), throttle.reading():
        bursts = [asyncio.ensure_future(throttle.yield_to_others()) for _ in range(5)]
        await asyncio.sleep(0)
        for burst in bursts[:3]:
            burst.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*bursts[3:])
