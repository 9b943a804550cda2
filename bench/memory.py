"""Memory that runs add to a server process: many rows, wide rows, slow subscribers.

make bench-memory                    about a minute, and 4 GB of the temporary folder
make bench-memory ARGS="--quick"     small, a smoke test that does not check the goals
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from bench.desk import Desk, at_a_desk, machine, subscribe
from bench.verdict import judge

MB = 1_000_000
EVERY_S = 0.01
GOAL_MB = 60
PROMISE_MB = 150
SLOW_READERS = 20
LONG = "x" * 100_000
HEAVY = "subscription($id: ID!) { queryStatus(id: $id) { revision statement } }"
LINK = "query($id: ID!) { queryRun(id: $id) { downloadUrl(format: CSV) } }"


class Size(NamedTuple):
    """Numbers of rows, megabytes of a large cell, and seconds of a slow subscriber."""

    rows: int
    wide_rows: int
    cell_mb: int
    slow_s: float


FULL = Size(rows=3_000_000, wide_rows=1_000, cell_mb=24, slow_s=5.0)
QUICK = Size(rows=20_000, wide_rows=100, cell_mb=4, slow_s=0.5)


class Case(NamedTuple):
    """A use of memory, and its limit."""

    name: str
    goal_mb: int
    work: Callable[[Desk], Awaitable[None]]


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the cases that missed their goal."""
    missed = []
    async with at_a_desk() as desk:
        await asyncio.sleep(1)
        idle = desk.process.memory_info().rss
        print(f"{machine(desk.target)}\nidle: {idle / MB:.0f} MB\n\n{'':36}{'adds':>9}   goal")
        for case in cases(size):
            async with peak_of(desk) as peak:
                await case.work(desk)
            added_mb = (max(peak) - idle) / MB
            print(f"{case.name:36}{added_mb:6.0f} MB   < {case.goal_mb} MB")
            if added_mb >= case.goal_mb:
                missed.append(case.name)
    return missed


def cases(size: Size) -> list[Case]:
    async def first(desk: Desk) -> None:
        await desk.delete(await desk.run("SELECT 1"))

    async def rows(desk: Desk) -> None:
        await desk.delete(await desk.run(of_rows(size.rows, 1_000)))

    async def wide_rows(desk: Desk) -> None:
        await desk.delete(await desk.run(of_rows(size.wide_rows, MB)))

    async def wide_cell(desk: Desk) -> None:
        await desk.delete(await desk.run(of_rows(1, size.cell_mb * MB)))

    async def followed(desk: Desk) -> None:
        await follow_without_reading(desk, size)

    async def downloaded(desk: Desk) -> None:
        await download_slowly(desk, size)

    return [
        Case("the first run", GOAL_MB, first),
        Case(f"{size.rows:,} rows of 1 kB", GOAL_MB, rows),
        Case(f"{SLOW_READERS} who follow and do not read", GOAL_MB, followed),
        Case("a download that is read slowly", GOAL_MB, downloaded),
        Case(f"{size.wide_rows:,} rows of 1 MB", PROMISE_MB, wide_rows),
        Case(f"one cell of {size.cell_mb} MB", PROMISE_MB + 2 * size.cell_mb, wide_cell),
    ]


def of_rows(count: int, size: int) -> str:
    return f"SELECT i, repeat('x', {size - 20}) FROM generate_series(1, {count}) AS i"


async def follow_without_reading(desk: Desk, size: Size) -> None:
    """Each change is 100 kB for each subscriber; unread changes must not accumulate."""
    rows = f"SELECT pg_sleep(0.001) FROM generate_series(1, {size.slow_s * 1000:.0f}) /* {LONG} */"
    async with desk.socket() as socket:
        run_id = await desk.start(rows)
        for number in range(SLOW_READERS):
            await subscribe(socket, str(number), HEAVY, id=run_id)
        await asyncio.sleep(size.slow_s)
        socket.transport.abort()


async def download_slowly(desk: Desk, size: Size) -> None:
    run_id = await desk.run(of_rows(size.rows // 4, 1_000))
    link = (await desk.ask(LINK, id=run_id))["queryRun"]["downloadUrl"]
    async with desk.http.stream("GET", link) as response:
        pieces = response.aiter_raw()
        for _ in range(10):
            await anext(pieces)
            await asyncio.sleep(size.slow_s / 10)
    await desk.delete(run_id)


@contextlib.asynccontextmanager
async def peak_of(desk: Desk) -> AsyncIterator[list[int]]:
    """Samples the memory of the server while the block runs."""
    seen = [desk.process.memory_info().rss]

    async def watch() -> None:
        while True:
            seen.append(desk.process.memory_info().rss)
            await asyncio.sleep(EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()


if __name__ == "__main__":
    main()
