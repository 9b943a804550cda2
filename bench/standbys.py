"""What reads on a standby cost, and what they take off the primary.

make bench-standbys                  about two minutes; let nothing else run meanwhile
make bench-standbys ARGS="--quick"   short, a smoke test that does not check the goal

One `howdah serve`, a primary and a standby share this machine, so the rates say what the position
costs and not what a second machine brings: that is in the CPU times. The same requests are sent
without a position, with one that is unusable, and with one that the standby has.
"""

import asyncio
import contextlib
import os
import platform
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from bench import peers
from bench.cases import Case
from bench.clients import converse, measure
from bench.cpu import postgres_cpu_s
from bench.peers import Peer
from bench.rounds import fill
from bench.verdict import judge
from db.postgres.schema import migrations
from tests.fixtures.failover import Server
from tests.fixtures.standbys import StandbyGroup

GOAL = 0.2
"""CPU of the primary for a page that is read on the standby, relative to one that is not."""
JUDGED = "page of 50 tasks"
READS = (JUDGED, "page of 50 tasks, alone", "one task by id", "one task by id, alone")
CHANGE = "toggle a task"
PLAIN, ON_PRIMARY, ON_STANDBY = "without a position", "on the primary", "on the standby"
SEEN = b"Howdah-Seen: "
POOLED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'howdah'"


class Size(NamedTuple):
    rounds: int
    seconds: float
    warm_s: float


FULL = Size(rounds=5, seconds=1.5, warm_s=0.5)
QUICK = Size(rounds=1, seconds=0.5, warm_s=0.2)


class Cost(NamedTuple):
    """Of one case; CPU times are per request."""

    per_s: float
    p50_ms: float
    howdah_ms: float
    primary_ms: float
    standby_ms: float


class Databases:
    """The CPU time of both servers, each time that the load generator asks for it."""

    def __init__(self, group: StandbyGroup) -> None:
        self._primary, self._standby = map(postmaster, (group.primary, group.standbys[0]))
        self._standby_s: list[float] = []

    def primary_s(self) -> float:
        self._standby_s.append(postgres_cpu_s(self._standby))
        return postgres_cpu_s(self._primary)

    def standby_s(self) -> float:
        """Between the last two questions."""
        return self._standby_s[-1] - self._standby_s[-2]


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the goal if it was missed."""
    async with StandbyGroup.started("standby") as group:
        url = group.primary.url
        await migrations.upgrade(url)
        by_name = {case.name: case for case in await fill(url)}
        await group.catch_up()
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(dir=name))
            opened = peers.ours(url, folder, standby_urls=group.urls)
            peer = await asyncio.to_thread(stack.enter_context, opened)
            seen = await position_on_standby(peer, by_name[JUDGED], group.standbys[0])
            positions: dict[str, str | None] = {PLAIN: None, ON_PRIMARY: "", ON_STANDBY: seen}
            print(
                f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
                f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n"
                f"{'':26}{'':20}{'req/s':>7}{'p50 ms':>8}{'CPU ms: Howdah':>16}"
                f"{'primary':>9}{'standby':>9}"
            )
            found = {}
            for case in (by_name[name] for name in (*READS, CHANGE)):
                found[case.name] = await compete(peer, case, positions, Databases(group), size)
                show(case.name, found[case.name])
    page = found[JUDGED]
    ratio = page[ON_STANDBY].primary_ms / page[PLAIN].primary_ms
    print(f"\ngoal: {GOAL:g} of the CPU of the primary for a page; measured: {ratio:.2f}")
    return [JUDGED] if ratio > GOAL else []


def postmaster(server: Server) -> psutil.Process:
    return psutil.Process(int((server.folder / "postmaster.pid").read_text().split()[0]))


async def position_on_standby(peer: Peer, case: Case, standby: Server) -> str:
    """A position with which queries are read on the standby."""
    seen = await position_after(peer, case, "")
    while not await standby.administer(POOLED):
        await position_after(peer, case, seen)
        await asyncio.sleep(0.1)
    return seen


async def position_after(peer: Peer, case: Case, seen: str) -> str:
    """The position in the answer to the first request of a case."""
    found: list[str] = []

    def keep(_: float, answer: bytearray) -> bool:
        head = answer.partition(b"\r\n\r\n")[0].lower()
        found.append(head.partition(SEEN.lower())[2].partition(b"\r\n")[0].decode())
        return False

    await converse(peer.url, iter(with_position(peer.requests(case)[:1], seen)), keep)
    return found[0]


def with_position(requests: Sequence[bytes], seen: str | None) -> Sequence[bytes]:
    if seen is None:
        return requests
    header = b"\r\n" + SEEN + seen.encode() + b"\r\nHost:"
    return [request.replace(b"\r\nHost:", header, 1) for request in requests]


async def compete(
    peer: Peer,
    case: Case,
    positions: dict[str, str | None],
    databases: Databases,
    size: Size,
) -> dict[str, Cost]:
    """The medians of interleaved rounds, by kind. A change is never made on the standby."""
    turns = [kind for kind in positions if kind != ON_STANDBY or not case.changes]
    runs: dict[str, list[Cost]] = {kind: [] for kind in turns}
    for _ in range(size.rounds):
        for kind in turns:
            requests = with_position(peer.requests(case), positions[kind])
            runs[kind].append(await run(peer, case, requests, databases, size))
        turns.append(turns.pop(0))
    return {kind: Cost(*map(statistics.median, zip(*of, strict=True))) for kind, of in runs.items()}


async def run(
    peer: Peer, case: Case, requests: Sequence[bytes], databases: Databases, size: Size
) -> Cost:
    found = await measure(
        peer.url,
        requests,
        connections=case.connections,
        warm_s=size.warm_s,
        seconds=size.seconds,
        cpu_s=peer.cpu_s,
        database_cpu_s=databases.primary_s,
    )
    standby_ms = databases.standby_s() * 1000 / (found.per_s * size.seconds)
    return Cost(found.per_s, found.p50_ms, found.cpu_ms, found.database_cpu_ms, standby_ms)


def show(name: str, found: dict[str, Cost]) -> None:
    for kind, cost in found.items():
        print(
            f"{name:26}{kind:20}{cost.per_s:7.0f}{cost.p50_ms:8.2f}{cost.howdah_ms:16.3f}"
            f"{cost.primary_ms:9.3f}{cost.standby_ms:9.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
