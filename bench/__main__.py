"""Requests per second of `howdah serve` against the limit and PostGraphile, on the same rows.

make bench                       a quarter of an hour; let nothing else run meanwhile
make bench ARGS="--quick"        a minute, a smoke test that does not check the goals

The limit is a bare ASGI function (bench.limit). PostGraphile takes part if npm can install it.
Each server is one process, and all use one PostgreSQL that the benchmark starts. The requests come
from a hundred users, because Howdah runs at most two operations of one user at a time. Responses
are compared before anything is timed; then the rounds of the servers are interleaved, with pauses.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg
import uvloop

from bench import answers, data, peers
from bench.cases import Case, cases
from bench.clients import Measured, measure
from bench.peers import Peer
from bench.report import Result, markdown
from db.postgres import migrations
from db.postgres.embedded import EmbeddedPostgres

RESULTS = Path(__file__).with_name("results")


class Size(NamedTuple):
    """Duration and number of the rounds."""

    rounds: int
    seconds: float
    warm_s: float
    settle_s: float


FULL = Size(rounds=5, seconds=3, warm_s=1, settle_s=1)
QUICK = Size(rounds=1, seconds=0.5, warm_s=0.2, settle_s=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small, without a verdict")
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--rounds", type=int, help=f"instead of {FULL.rounds}")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.rounds:
        size = size._replace(rounds=arguments.rounds)
    missed = uvloop.run(bench(size, only=arguments.only))
    sys.exit(1 if missed and not arguments.quick else 0)


async def bench(size: Size, *, only: str) -> bool:
    """Returns whether a goal was missed."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        settings = {"synchronous_commit": "off"}
        async with await EmbeddedPostgres.open(folder / "postgres", settings=settings) as postgres:
            chosen = [case for case in await prepared(postgres.url) if only in case.name]
            started = await asyncio.to_thread(start, postgres.url, folder, stack)
            for case in chosen:
                await answers.compare(started, case)
            await warm(started, chosen, size)
            results = [
                Result(case, await compete(started, case, size, postgres.superuser_url))
                for case in chosen
            ]
            stack.close()
    text = markdown(results, postgres=postgres.version, seconds=size.seconds)
    print(f"\n{text}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / time.strftime("%Y-%m-%d-%H%M%S.md")).write_text(text)
    return any(result.missed() for result in results)


async def prepared(url: str) -> list[Case]:
    await migrations.upgrade(url)
    connection = await asyncpg.connect(url)
    try:
        return cases(await data.build(connection))
    finally:
        await connection.close()


def start(url: str, folder: Path, stack: contextlib.ExitStack) -> list[Peer]:
    """Starts every available server; they stop when the stack is closed."""
    started = [
        stack.enter_context(open_peer(url, folder)) for open_peer in (peers.ours, peers.limit)
    ]
    try:
        started.append(stack.enter_context(peers.postgraphile(url, folder)))
    except peers.NotInstalled as missing:
        print(f"without PostGraphile: {missing}")
    return started


async def warm(started: Sequence[Peer], chosen: Sequence[Case], size: Size) -> None:
    """Sends each case to each server once, to fill caches and let Node compile."""
    for case in chosen:
        for peer in started:
            await run(peer, case, size._replace(warm_s=0))


async def compete(
    started: Sequence[Peer], case: Case, size: Size, url: str
) -> Mapping[str, list[Measured]]:
    """Interleaves the servers; the first of a round is the last of the next."""
    runs: dict[str, list[Measured]] = {peer.name: [] for peer in started}
    turns = list(started)
    for _ in range(size.rounds):
        for peer in turns:
            await data.tidy(url)
            await asyncio.sleep(size.settle_s)
            runs[peer.name].append(await run(peer, case, size))
        turns.append(turns.pop(0))
    rates = ", ".join(f"{name} {[round(run.per_s) for run in of]}" for name, of in runs.items())
    print(f"{case.name}, c={case.connections}: {rates}", flush=True)
    return runs


async def run(peer: Peer, case: Case, size: Size) -> Measured:
    return await measure(
        peer.url,
        peer.requests(case),
        connections=case.connections,
        warm_s=size.warm_s,
        seconds=size.seconds,
        cpu_s=peer.cpu_s,
    )


if __name__ == "__main__":
    main()
