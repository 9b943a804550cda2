"""What each part that was built for speed brings: Howdah without one of them at a time.

make bench-ablation                    about eight minutes; let nothing else run meanwhile
make bench-ablation ARGS="--quick"     a smoke test that writes no pages

bench.ablated switches the parts off. Responses are compared before anything is timed, and the
rounds are interleaved. The figures go to bench/figures and docs/performance.md.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import uvloop

from bench import answers, figures, pages, peers
from bench.ablated import EVERYTHING, PARTS
from bench.cases import Case
from bench.peers import Peer
from bench.rounds import Runs, Size, Testbed, medians, open_testbed, ratio

WHOLE = peers.HOWDAH
FULL = Size(rounds=5, seconds=1.0, warm_s=0.3, settle_s=0.1)
QUICK = Size(rounds=1, seconds=1, warm_s=0.5, settle_s=0)
LEFT_OUT = ("page of 50 tasks, alone", "10,000 tasks")


class Measurement(NamedTuple):
    case: Case
    runs: Runs


def main() -> None:
    arguments = figures.parser(__doc__).parse_args()
    found = uvloop.run(bench(QUICK if arguments.quick else FULL, only=arguments.only))
    print(f"\n{pages.ablation_block(found)}")
    if not (arguments.quick or arguments.only):
        figures.write("ablation", found)
        pages.update()


async def bench(size: Size, *, only: str) -> figures.Ablation:
    async with open_testbed() as testbed:
        with contextlib.ExitStack() as stack:
            chosen = [
                case for case in testbed.cases if only in case.name and case.name not in LEFT_OUT
            ]
            started = await asyncio.to_thread(start, testbed, stack)
            measured = await measure(testbed, started, chosen, size)
            machine = figures.machine(testbed.version, started)
    return figures.Ablation(
        machine,
        size.rounds,
        size.seconds,
        cases=[(case.name, case.connections) for case in chosen],
        whole=[medians(of.runs[WHOLE]) for of in measured],
        without={
            part: [medians(of.runs[part]) for of in measured] for part in (*PARTS, EVERYTHING)
        },
        ratios={
            part: [ratio(of.runs[part], of.runs[WHOLE]) for of in measured]
            for part in (*PARTS, EVERYTHING)
        },
    )


def start(testbed: Testbed, stack: contextlib.ExitStack) -> list[Peer]:
    started = testbed.start(stack, peers.ours)
    for part in (*PARTS, EVERYTHING):
        (ablated,) = testbed.start(stack, partial(peers.ours, without=part))
        started.append(dataclasses.replace(ablated, name=part))
    return started


async def measure(
    testbed: Testbed, started: Sequence[Peer], chosen: Sequence[Case], size: Size
) -> list[Measurement]:
    for case in chosen:
        await answers.compare(started, case)
        await testbed.warm(started, case, size)
    return [Measurement(case, await testbed.compete(started, case, size)) for case in chosen]


if __name__ == "__main__":
    main()
