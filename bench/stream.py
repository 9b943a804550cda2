"""Rows per second of a run with its result store, psycopg's text stream and asyncpg's cursor.

make bench-stream                    five interleaved rounds of a million rows; about half a minute
make bench-stream ARGS="--quick"     small, a smoke test that does not check the goals

The run is executed by a server, and its time is that of its own record: it includes connecting,
reading, writing pages to the store and their index to the database. The others only read.
"""

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import psycopg
from psycopg.types.string import TextLoader

from bench.desk import Desk, at_a_desk, machine
from bench.verdict import judge
from tests.fixtures.connected import connected

CHUNK_ROWS = 100
OF_A_RUN = "query($id: ID!) { queryRun(id: $id) { elapsedMs rowCount truncated { limit } } }"
COLUMNS = ("i", "i * 1000::int8", "'number ' || i", "moment + i * interval '1 s'", "i / 7::float8")
OURS, PSYCOPG, ASYNCPG = "a run into the store", "psycopg's text stream", "asyncpg's cursor"
GOALS = {PSYCOPG: 0.8, ASYNCPG: 2.0}

Measure = Callable[[Desk, str], Awaitable[float]]


class Size(NamedTuple):
    """Numbers of rows and rounds."""

    rows: int
    rounds: int


FULL = Size(rows=1_000_000, rounds=5)
QUICK = Size(rows=20_000, rounds=1)


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the ratios that missed their goal."""
    query = (
        f"SELECT {', '.join(COLUMNS)} FROM generate_series(1, {size.rows}) AS i, "
        "(VALUES (timestamptz '2026-01-01Z')) AS since (moment)"
    )
    contestants: dict[str, Measure] = {OURS: by_a_run, PSYCOPG: by_psycopg, ASYNCPG: by_asyncpg}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    async with at_a_desk() as desk:
        for number in range(size.rounds + 1):
            for name, measure in contestants.items():
                took_s = await measure(desk, query)
                if number:  # the first round only warms up
                    seconds[name].append(took_s)
        print(
            f"{machine(desk.target)}; {size.rows:,} rows x {len(COLUMNS)}, {size.rounds} rounds\n"
        )
    return report(size, seconds)


async def by_a_run(desk: Desk, query: str) -> float:
    run_id = await desk.run(query)
    run = (await desk.ask(OF_A_RUN, id=run_id))["queryRun"]
    assert run["truncated"] is None, run
    await desk.delete(run_id)
    return float(run["elapsedMs"]) / 1000


async def by_psycopg(desk: Desk, query: str) -> float:
    async with await psycopg.AsyncConnection.connect(
        desk.target.url, autocommit=True
    ) as connection:
        for name in ("int4", "int8", "timestamptz", "float8"):
            connection.adapters.register_loader(name, TextLoader)
        started_at = time.perf_counter()
        async with connection.cursor() as cursor:
            async for _ in cursor.stream(query, size=CHUNK_ROWS):
                pass
        return time.perf_counter() - started_at


async def by_asyncpg(desk: Desk, query: str) -> float:
    async with connected(desk.target.url) as connection:
        started_at = time.perf_counter()
        async with connection.transaction():
            async for _ in connection.cursor(query, prefetch=CHUNK_ROWS):
                pass
        return time.perf_counter() - started_at


def report(size: Size, seconds: dict[str, list[float]]) -> list[str]:
    missed = []
    print(f"{'M rows/s':24}{'median':>9}{'best':>9}{'worst':>9}{'ours to it':>13}   goal")
    for name, times in seconds.items():
        shown = (statistics.median(times), min(times), max(times))
        figures = "".join(f"{size.rows / took_s / 1e6:9.2f}" for took_s in shown)
        pairs = zip(times, seconds[OURS], strict=True)
        ratio = statistics.median(theirs / ours for theirs, ours in pairs)
        goal = f"{ratio:13.2f}   >= {GOALS[name]}" if name in GOALS else ""
        print(f"{name:24}{figures}{goal}")
        if ratio < GOALS.get(name, 0):
            missed.append(name)
    return missed


if __name__ == "__main__":
    main()
