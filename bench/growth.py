"""How the cost of a request grows with clients, rows and fields, for each server.

make bench-growth                    about eight minutes; let nothing else run meanwhile
make bench-growth ARGS="--quick"     a smoke test that writes no pages

The figures go to bench/figures, and the plots to docs/images.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import uvloop

from bench import figures, pages, peers
from bench.cases import Case, with_fields
from bench.clients import Measured
from bench.peers import Peer
from bench.rounds import Open, Size, Testbed, medians, open_testbed

FULL = Size(rounds=3, seconds=1.2, warm_s=0.4, settle_s=0.1)
QUICK = Size(rounds=1, seconds=1, warm_s=0.5, settle_s=0)
CLIENTS = (1, 3, 10, 30, 100, 300, 1_000)
ROWS = (1, 10, 100, 1_000, 10_000)
FIELDS = (1, 2, 4, 8, 16, 32)
ALL: tuple[Open, ...] = (
    *(peers.ours, peers.limit, peers.gathering_limit, peers.postgraphile, peers.stock),
)

Grown = Mapping[str, Mapping[int, Measured]]


def main() -> None:
    quick = figures.parser(__doc__).parse_args().quick
    found = uvloop.run(bench(QUICK if quick else FULL, every=3 if quick else 1))
    print(f"\n{pages.growth_block(found)}")
    if not quick:
        figures.write("growth", found)
        pages.update()


async def bench(size: Size, *, every: int) -> figures.Growth:
    """`every` leaves points out: 3 measures each third."""
    async with open_testbed() as testbed:
        with contextlib.ExitStack() as stack:
            started = await asyncio.to_thread(testbed.start, stack, *ALL)
            by_name = {case.name: case for case in testbed.cases}
            one, many = by_name["one task by id"], by_name["10,000 tasks"]
            named = {peer.name: peer for peer in started}
            knows_fields = [
                named[name]
                for name in (peers.HOWDAH, peers.POSTGRAPHILE, peers.STOCK)
                if name in named
            ]
            gathers_nothing = [named[name] for name in named if name != peers.GATHERING_LIMIT]
            grown = [
                await grow(testbed, started, with_clients(one, CLIENTS[::every]), size),
                await grow(testbed, gathers_nothing, with_rows(many, ROWS[::every]), size),
                await grow(
                    testbed,
                    knows_fields,
                    {count: with_fields(many, count) for count in FIELDS[::every]},
                    size,
                ),
            ]
            machine = figures.machine(testbed.version, started)
    return figures.Growth(machine, size.rounds, size.seconds, *grown)


def with_clients(case: Case, counts: Sequence[int]) -> dict[int, Case]:
    return {count: case._replace(connections=count) for count in counts}


def with_rows(case: Case, counts: Sequence[int]) -> dict[int, Case]:
    """Pages of the user with 10,000 tasks, by four clients; the largest by one."""
    return {
        count: case._replace(
            name=f"page of {count:,} tasks",
            connections=4 if count < 10_000 else 1,
            asked=[one._replace(variables={"first": count}) for one in case.asked],
        )
        for count in counts
    }


async def grow(
    testbed: Testbed, started: Sequence[Peer], chosen: Mapping[int, Case], size: Size
) -> Grown:
    grown: dict[str, dict[int, Measured]] = {peer.name: {} for peer in started}
    for number, case in chosen.items():
        await testbed.warm(started, case, size)
        for name, runs in (await testbed.compete(started, case, size.for_case(case))).items():
            grown[name][number] = medians(runs)
    return grown


if __name__ == "__main__":
    main()
