"""Requests per second of `howdah serve` against other servers, on the same rows.

make bench                       under ten minutes; let nothing else run meanwhile
make bench ARGS="--quick"        a minute, a smoke test that neither checks goals nor writes pages

The limit is a bare ASGI function (bench.peers.limit_server), with and without gathering. The stock
way is bench.peers.stock_server. PostGraphile takes part if npm can install it. Each server is one
process, and all use one PostgreSQL that the benchmark starts. The requests come from a hundred
users. Responses are compared before anything is timed; then the rounds of the servers are
interleaved. The figures go to bench/figures, docs/performance.md and README.md.
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from functools import partial

import uvloop

from bench import answers, figures, pages, peers
from bench.cases import Case
from bench.distance import delayed
from bench.peers import Peer
from bench.rounds import Open, Size, Testbed, open_testbed

FULL = Size(rounds=5, seconds=1.2, warm_s=0.3, settle_s=0.2)
QUICK = Size(rounds=1, seconds=1, warm_s=0.5, settle_s=0)
FAR_MS = 30.0
FAR_CASES = ("one task by id", "page of 50 tasks", "create a task")
ALL: tuple[Open, ...] = (
    *(peers.ours, peers.limit, peers.gathering_limit, peers.postgraphile, peers.stock),
)


def main() -> None:
    arguments = figures.parser(__doc__).parse_args()
    found = uvloop.run(bench(QUICK if arguments.quick else FULL, only=arguments.only))
    print(f"\n{pages.bench_block(found)}")
    if not (arguments.quick or arguments.only):
        figures.write("bench", found)
        pages.update()
        sys.exit(bool(found.missed))


async def bench(size: Size, *, only: str) -> figures.Bench:
    async with open_testbed() as testbed:
        with contextlib.ExitStack() as stack:
            near = [case for case in testbed.cases if only in case.name]
            started = await asyncio.to_thread(testbed.start, stack, *ALL)
            results = await measure(testbed, started, near, size)
            url = stack.enter_context(delayed(testbed.url, FAR_MS))
            start = partial(testbed.start, url=url)
            far_peers = await asyncio.to_thread(start, stack, *ALL)
            far_cases = [case for case in near if case.name in FAR_CASES]
            far = await measure(testbed, far_peers, far_cases, size._replace(rounds=3))
            machine = figures.machine(testbed.version, started)
    return figures.Bench(machine, size.rounds, size.seconds, results, FAR_MS, far)


async def measure(
    testbed: Testbed, started: Sequence[Peer], chosen: Sequence[Case], size: Size
) -> list[figures.Result]:
    for case in chosen:
        await answers.compare(taking_part(started, case), case)
    for case in chosen:  # fills caches, and lets Node compile
        await testbed.warm(taking_part(started, case), case, size)
    return [
        figures.Result.of(
            case, await testbed.compete(taking_part(started, case), case, size.for_case(case))
        )
        for case in chosen
    ]


def taking_part(started: Sequence[Peer], case: Case) -> list[Peer]:
    return [peer for peer in started if case.gathers or peer.name != peers.GATHERING_LIMIT]


if __name__ == "__main__":
    main()
