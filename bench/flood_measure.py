"""Response times of other users with and without a flood, in alternating rounds."""

import asyncio
import itertools
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import Any, NamedTuple, TypeAlias

import psutil

from bench.load import User, connected, percentiles

GOAL = 2.0
PAUSE_S = 0.05
WARM_S = 0.4
NICE = 10
HEADER = (
    f"{'p95 of others in ms':26}{'calm':>8}{'flood':>8}{'times':>8}{'promise':>9}{'flood/s':>10}"
)
PAGE = "{ tasks(first: 20) { nodes { id title completed } } }"
TASK = "query($id: ID!) { task(id: $id) { id title } }"
TOGGLE = "mutation($id: ID!) { toggleTask(input: {id: $id}) { task { completed } } }"

SPAWNING = multiprocessing.get_context("spawn")
Counter: TypeAlias = "Synchronized[int]"
Flooding: TypeAlias = Callable[[], AbstractAsyncContextManager[Counter]]
"""Floods during its block, as often as it is called."""


class Size(NamedTuple):
    """Numbers of connections, users, tasks and rounds, and seconds of each round."""

    connections: int
    others: int
    tasks_of_flooder: int
    rounds: int
    seconds: float


class Felt(NamedTuple):
    """Waiting times of the others without and with the flood, and its responses."""

    calm_ms: float
    flooded_ms: float
    per_s: float


async def is_bearable(
    name: str,
    flood: AbstractAsyncContextManager[Flooding],
    address: str,
    others: list[str],
    size: Size,
) -> bool:
    """Prints the promise and the figures. The ratio is the median of the rounds' ratios."""
    async with flood as begin:
        felt = [await feel(begin, address, others, size) for _ in range(size.rounds)]
    ratio = statistics.median(one.flooded_ms / one.calm_ms for one in felt)
    calm_ms, flooded_ms, per_s = map(statistics.median, zip(*felt, strict=True))
    verdict = "" if ratio <= GOAL else "   MISSED"
    print(
        f"{name:26}{calm_ms:8.1f}{flooded_ms:8.1f}{ratio:8.2f}{GOAL:9.1f}{per_s:10.1f}{verdict}",
        flush=True,
    )
    return ratio <= GOAL


async def feel(begin: Flooding, address: str, tokens: list[str], size: Size) -> Felt:
    """Measures the same requests twice, on new connections: the server closes idle ones."""
    async with connected(tokens, address) as others:
        await watch(others, WARM_S)
        calm = await watch(others, size.seconds)
    async with begin() as answers, connected(tokens, address) as others:
        await watch(others, WARM_S)
        before, began = answers.value, time.perf_counter()
        flooded = await watch(others, size.seconds)
        per_s = (answers.value - before) / (time.perf_counter() - began)
    return Felt(percentiles(calm)[95], percentiles(flooded)[95], per_s)


async def watch(others: list[User], seconds: float) -> list[float]:
    """Milliseconds of each request of the others."""
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
        await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))
    return times


def _wishes(user: User) -> Iterator[tuple[str, dict[str, Any]]]:
    for task_id in itertools.cycle(user.ids):
        yield PAGE, {}
        yield TASK, {"id": task_id}
        yield TOGGLE, {"id": task_id}


@asynccontextmanager
async def in_a_process(target: Callable[..., None], *arguments: object) -> AsyncIterator[Flooding]:
    """Floods from one process, which stops between the rounds; `target` counts its responses.

    It gives way to the server: a flood comes from other machines, and does not take its CPU time.
    """
    answers = SPAWNING.Value("Q", 0)
    process = SPAWNING.Process(target=target, args=(*arguments, answers))
    process.start()
    handle = psutil.Process(process.pid)
    handle.nice(NICE)

    @asynccontextmanager
    async def begin() -> AsyncIterator[Counter]:
        assert process.is_alive(), "the flood has ended"
        handle.resume()
        try:
            yield answers
        finally:
            handle.suspend()
        assert process.is_alive(), "the flood has ended"

    try:
        while not answers.value:
            assert process.is_alive()
            await asyncio.sleep(0.05)
        handle.suspend()
        yield begin
    finally:
        process.kill()
        process.join()


def begun_each_time(
    start: Callable[[], AbstractAsyncContextManager[Flooding]],
) -> Flooding:
    """Starts another process for each round, for requests that can be sent once."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[Counter]:
        async with start() as flooding, flooding() as answers:
            yield answers

    return begin
