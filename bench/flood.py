"""Response times of other users while one floods the server: their p95 with and without it.

make bench-flood                   about six minutes; let nothing else run meanwhile
make bench-flood ARGS="--quick"    short, a smoke test that does not check the goals

One `howdah serve` with its embedded PostgreSQL. A flood is one user on 64 connections, each sending
its next request when it has the response; the others sometimes request a page, a task or a change.
Rounds with and without the flood alternate. Then the same with runs of large results. `make attack`
measures what strangers can send (`by_strangers`).
"""

import asyncio
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from bench import flood_requests
from bench.clients import request
from bench.desk import EXECUTE, Desk, at_a_desk
from bench.flood_measure import (
    GOAL,
    HEADER,
    PAGE,
    SPAWNING,
    Counter,
    Flooding,
    Size,
    begun_each_time,
    in_a_process,
    is_bearable,
)
from bench.load import connected, prepared_users, server_in
from bench.verdict import judge

DOCUMENTS = 3_000
CREATE = 'createTask(input: {title: "Flood"}) { task { id } }'
SIGN_UP = """mutation($email: String!) {
  signUp(input: {email: $email, password: "correct horse battery", name: "User"}) {
    session { accessToken } } }"""
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }"
RUNS = 8
# Rows that PostgreSQL makes as they are read; FROM generate_series() it makes all of them before.
NARROW = "generate_series(1, 1000000)"
WIDE = f"{NARROW}, repeat('x', 100), now()"
STORED = "SELECT number, repeat('x', 100) FROM generate_series(1, 10000) AS number"
ROWS = '{{ queryRun(id: "{}") {{ rows(first: 1000) {{ rows }} }} }}'
FULL = Size(connections=64, others=8, tasks_of_flooder=10_000, rounds=4, seconds=1.4)
QUICK = Size(connections=16, others=4, tasks_of_flooder=500, rounds=1, seconds=0.5)


class Flood(NamedTuple):
    """What the flooding user sends: a document for each number."""

    name: str
    document: Callable[[int], str] | None = None
    header: str = "{}"
    """Format of the token that is sent; `{}` is the token of the flooding user."""
    prepare: flood_requests.Prepare | None = None
    """Makes the requests if they are no documents."""
    is_used_up: bool = False
    """Whether the requests have their effect only once."""

    async def requests(self, address: str, token: str) -> list[bytes]:
        if self.prepare is not None:
            return await self.prepare(address, token)
        assert self.document is not None
        return [
            request(address, {"query": self.document(number)}, token=self.header.format(token))
            for number in range(time.monotonic_ns(), time.monotonic_ns() + DOCUMENTS)
        ]


def floods() -> list[Flood]:
    search = 'tasks(first: 10, filter: {search: "number 7"}) { nodes { id } }'
    # Too short for the index, and in none of them: every task is looked at.
    of_all = 'tasks(first: 10, filter: {search: "7 e"}) { nodes { id } totalCount }'
    lists = _aliases(50, "tasks(first: 20) { nodes { id title } }")
    many_fields = " ".join(f"b{number}: id" for number in range(200))
    return [
        Flood("small pages", _always(PAGE)),
        Flood("a search in each", _always(f"{{ {search} }}")),
        Flood("20 searches in each", _always(_aliases(20, search))),
        Flood("a search of all", _always(f"{{ {of_all} }}")),
        Flood("20 searches of all", _always(_aliases(20, of_all))),
        Flood("50 pages in each", _always(lists)),
        Flood("1,000 tasks in each", _always("{ tasks(first: 1000) { nodes { id title } } }")),
        Flood("a create in each", _always(f"mutation {_aliases(1, CREATE)}")),
        Flood("20 creates in each", _always(f"mutation {_aliases(20, CREATE)}")),
        Flood("refused documents", lambda number: f"{{ nothing{number} }}"),
        Flood("new documents", lambda number: f"{{ a{number}: viewer {{ id }} }}"),
        Flood("new large documents", lambda number: f"{{ a{number}: viewer {{ {many_fields} }} }}"),
        Flood("strangers", _always("{ health { status } }"), header=""),
        Flood("wrong tokens", _always(PAGE), header="x{}"),
        Flood("storage lists", prepare=flood_requests.storage_lists),
        Flood("uploads", prepare=flood_requests.uploads, is_used_up=True),
        Flood("downloads", prepare=flood_requests.downloads),
        Flood("/metrics", prepare=flood_requests.metrics),
    ]


def floods_of_strangers() -> list[Flood]:
    return [
        Flood("scripts of GraphiQL", prepare=flood_requests.assets),
        Flood("bad links", prepare=flood_requests.bad_links),
        Flood("connections", prepare=flood_requests.single_requests),
    ]


def _always(document: str) -> Callable[[int], str]:
    return lambda _: document


def _aliases(count: int, selection: str) -> str:
    return f"{{ {' '.join(f'a{number}: {selection}' for number in range(count))} }}"


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the floods that missed the goal."""
    print(
        f"{size.connections} connections of one user with {size.tasks_of_flooder:,} tasks, then "
        f"{RUNS} runs of one user, against {size.others} others; {size.rounds} rounds of "
        f"{size.seconds:g} s\nPython {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
        f"\n\n{HEADER}"
    )
    missed = await by_requests(floods(), size) + await by_runs(size)
    print(f"\ngoal: at most {GOAL:g} times; " + (f"missed by {missed}" if missed else "met"))
    return missed


async def by_requests(floods: list[Flood], size: Size) -> list[str]:
    counts = [size.tasks_of_flooder, *[100] * size.others]
    with tempfile.TemporaryDirectory() as name:
        async with server_in(Path(name)) as address:
            flooder, *others = await prepared_users(Path(name), counts)
            return [
                flood.name
                for flood in floods
                if not await is_bearable(
                    flood.name, requesting(flood, address, flooder, size), address, others, size
                )
            ]


async def by_strangers(size: Size) -> list[str]:
    """Floods that need no account."""
    missed = await by_requests(floods_of_strangers(), size)
    with tempfile.TemporaryDirectory() as name:
        async with server_in(Path(name)) as address:
            others = await prepared_users(Path(name), [100] * size.others)
            for label, target in flood_requests.STRANGERS.items():
                flood = in_a_process(target, address, size.connections)
                if not await is_bearable(label, flood, address, others, size):
                    missed.append(label)
    return missed


async def by_runs(size: Size) -> list[str]:
    async with at_a_desk() as desk:
        # What this is about is our loop: the user's own database does not run on our machine.
        for process in psutil.Process().children():
            if process.name() == "postgres":
                process.nice(19)
        others = [await signed_up(desk, number) for number in range(size.others)]
        missed = []
        flood = Flood("rows of a run", _always(ROWS.format(await desk.run(STORED))))
        token = desk.token.removeprefix("Bearer ")
        begin = requesting(flood, desk.address, token, size)
        if not await is_bearable(flood.name, begin, desk.address, others, size):
            missed.append(flood.name)
        for name, (columns, count) in {
            "runs of wide rows": (WIDE, RUNS),
            "runs of narrow rows": (NARROW, RUNS),
            "one run of narrow rows": (NARROW, 1),
        }.items():
            runs = nullcontext(partial(running, desk, f"SELECT {columns}", count))
            if not await is_bearable(name, runs, desk.address, others, size):
                missed.append(name)
    return missed


async def signed_up(desk: Desk, number: int) -> str:
    """The token of a new user with a few tasks."""
    email = f"user{number}@example.com"
    token = str((await desk.ask(SIGN_UP, email=email))["signUp"]["session"]["accessToken"])
    async with connected([token], desk.address) as users:
        await users[0].ask(f"mutation {_aliases(20, CREATE)}")
    return token


@asynccontextmanager
async def requesting(flood: Flood, address: str, token: str, size: Size) -> AsyncIterator[Flooding]:
    """Floods from a separate process; each round ends when what was left of it is answered."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Flooding]:
        requests = await flood.requests(address, token)
        async with in_a_process(
            flood_requests.ask_on, address, requests, size.connections
        ) as flooding:
            yield partial(_settled, flooding, address, token)

    if flood.is_used_up:
        yield begun_each_time(start)
    else:
        async with start() as flooding:
            yield flooding


@asynccontextmanager
async def _settled(flooding: Flooding, address: str, token: str) -> AsyncIterator[Counter]:
    async with flooding() as answers:
        yield answers
    async with connected([token], address):
        pass  # this user's operations are answered in order


@asynccontextmanager
async def running(desk: Desk, statement: str, count: int) -> AsyncIterator[Counter]:
    """Executes runs of one user during the block, several at a time."""
    ended = SPAWNING.Value("Q", 0)

    async def run_on() -> None:
        while True:
            asked = {"connectionId": desk.connection_id, "statement": statement, "waitMs": 30_000}
            await desk.ask(EXECUTE, input=asked)
            ended.value += 1

    tasks = [asyncio.create_task(run_on()) for _ in range(count)]
    try:
        yield ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run in (await desk.ask("{ activeQueries { id } }"))["activeQueries"]:
            await desk.ask(CANCEL, id=run["id"])


if __name__ == "__main__":
    main()
