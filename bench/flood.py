"""What others feel while one user floods: their p95 in the flood against the same without it.

make bench-flood                   about three minutes; let nothing else run meanwhile
make bench-flood ARGS="--quick"    short, a smoke test without a verdict

One `howdah serve` with its embedded PostgreSQL. A flood is one user on 64 connections, each asking
again as soon as it is answered; the others ask for a page, a task and a change now and then. Calm
and flood take turns.
"""

import asyncio
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.load import User, connected, percentiles, prepared_users, server_in
from bench.verdict import judge

GOAL = 2.0
PAUSE_S = 0.05
PAGE = "{ tasks(first: 20) { nodes { id title completed } } }"
TASK = "query($id: ID!) { task(id: $id) { id title } }"
CREATE = 'createTask(input: {title: "Flood"}) { task { id } }'
TOGGLE = "mutation($id: ID!) { toggleTask(input: {id: $id}) { task { completed } } }"


class Size(NamedTuple):
    """How much of it."""

    connections: int
    others: int
    tasks_of_flooder: int
    rounds: int
    seconds: float


FULL = Size(connections=64, others=8, tasks_of_flooder=10_000, rounds=5, seconds=2.0)
QUICK = Size(connections=16, others=4, tasks_of_flooder=500, rounds=1, seconds=0.5)


class Flood(NamedTuple):
    """What the one user sends."""

    name: str
    query: str


def floods() -> list[Flood]:
    search = 'tasks(first: 10, filter: {search: "number 7"}) { nodes { id } }'
    # Too short for the index, and in none of them: every task is looked at.
    of_all = 'tasks(first: 10, filter: {search: "7 e"}) { nodes { id } totalCount }'
    return [
        Flood("small pages", PAGE),
        Flood("a search in each", f"{{ {search} }}"),
        Flood("20 searches in each", _aliases(20, search)),
        Flood("a search of all", f"{{ {of_all} }}"),
        Flood("20 searches of all", _aliases(20, of_all)),
        Flood("50 pages in each", _aliases(50, "tasks(first: 20) { nodes { id title } }")),
        Flood("1,000 tasks in each", "{ tasks(first: 1000) { nodes { id title description } } }"),
        Flood("a create in each", f"mutation {_aliases(1, CREATE)}"),
        Flood("20 creates in each", f"mutation {_aliases(20, CREATE)}"),
        Flood("refused documents", "{ nothing }"),
    ]


def _aliases(count: int, selection: str) -> str:
    return f"{{ {' '.join(f'a{number}: {selection}' for number in range(count))} }}"


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """The floods that others felt too much."""
    counts = [size.tasks_of_flooder, *[100] * size.others]
    with tempfile.TemporaryDirectory() as name:
        async with server_in(Path(name)) as address:
            tokens = await prepared_users(Path(name), counts)
            async with (
                connected([tokens[0]] * size.connections, address) as flooders,
                connected(tokens[1:], address) as others,
            ):
                return await measure(flooders, others, size)


async def measure(flooders: list[User], others: list[User], size: Size) -> list[str]:
    print(
        f"{size.connections} connections of one user with {size.tasks_of_flooder:,} tasks against "
        f"{size.others} others; {size.rounds} rounds of {size.seconds:g} s\n"
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n\n"
        f"{'p95 in ms':24}{'calm':>8}{'flood':>8}{'times':>8}{'flood/s':>10}"
    )
    await watch(others, 1.0)
    missed = []
    for flood in floods():
        calm, flooded, rates = [], [], []
        for _ in range(size.rounds):
            calm.append(percentiles(await watch(others, size.seconds))[95])
            times, rate = await during(flood, flooders, others, size.seconds)
            flooded.append(percentiles(times)[95])
            rates.append(rate)
        before_ms, meanwhile_ms = statistics.median(calm), statistics.median(flooded)
        ratio = statistics.median(b / a for a, b in zip(calm, flooded, strict=True))
        print(
            f"{flood.name:24}{before_ms:8.1f}{meanwhile_ms:8.1f}{ratio:8.1f}"
            f"{statistics.median(rates):10.0f}",
            flush=True,
        )
        if ratio > GOAL:
            missed.append(flood.name)
    print(f"\ngoal: at most {GOAL:g} times; " + (f"missed by {missed}" if missed else "met"))
    return missed


async def during(
    flood: Flood, flooders: list[User], others: list[User], seconds: float
) -> tuple[list[float], float]:
    """What the others waited, and the answers a second that the flood got."""
    answers = itertools.count()
    stop = asyncio.Event()

    async def ask_on(user: User) -> None:
        while not stop.is_set():
            await user.ask(flood.query)
            next(answers)

    tasks = [asyncio.create_task(ask_on(user)) for user in flooders]
    await asyncio.sleep(0.3)
    began = time.perf_counter()
    before = next(answers)
    times = await watch(others, seconds)
    rate = (next(answers) - before) / (time.perf_counter() - began)
    stop.set()
    await asyncio.gather(*tasks)
    return times, rate


async def watch(others: list[User], seconds: float) -> list[float]:
    """Milliseconds of all that the others asked for."""
    ends_at = time.perf_counter() + seconds
    times = await asyncio.gather(*(visit(user, ends_at) for user in others))
    return [ms for of_one in times for ms in of_one]


async def visit(user: User, ends_at: float) -> list[float]:
    times = []
    for query, variables in _wishes(user):
        began = time.perf_counter()
        if began >= ends_at:
            break
        answer = await user.ask(query, **variables)
        times.append((time.perf_counter() - began) * 1000)
        assert b'"errors"' not in answer, json.loads(answer)
        await asyncio.sleep(PAUSE_S)
    return times


def _wishes(user: User) -> Iterator[tuple[str, dict[str, Any]]]:
    for task_id in itertools.cycle(user.ids):
        yield PAGE, {}
        yield TASK, {"id": task_id}
        yield TOGGLE, {"id": task_id}


if __name__ == "__main__":
    main()
