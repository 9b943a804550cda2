"""Interleaved rounds of several servers on one PostgreSQL with the data set."""

import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import psutil

from bench import data
from bench.cases import Case, cases
from bench.clients import Measured, measure, warm
from bench.cpu import postgres_cpu_s
from bench.peers import NotInstalled, Peer
from db.postgres.embedded import EmbeddedPostgres
from db.postgres.schema import migrations
from tests.fixtures.connected import connected

SETTINGS = {"synchronous_commit": "off", "max_connections": "500"}
"""The bench measures servers and not disks; each of them has a pool of its own."""

Runs: TypeAlias = Mapping[str, Sequence[Measured]]
"""Runs by peer name; those with the same index were measured one after the other."""


class Size(NamedTuple):
    """Duration and number of the rounds."""

    rounds: int
    seconds: float
    warm_s: float
    settle_s: float

    def for_case(self, case: Case) -> "Size":
        """Twice the time for a client alone on 10,000 rows: the slowest server needs 0.5 s each."""
        return self._replace(seconds=2 * self.seconds) if case.slow else self


class Open(Protocol):
    """Starts a server of bench.peers for a database URL; it ends with the block."""

    def __call__(self, url: str, folder: Path, /) -> AbstractContextManager[Peer]: ...


class Testbed:
    """The database, the cases on its rows, and a folder for logs."""

    def __init__(
        self, postgres: EmbeddedPostgres, chosen: Sequence[Case], folder: Path, pid: int
    ) -> None:
        self.url = postgres.url
        self.version = postgres.version
        self.cases = chosen
        self._superuser_url = postgres.superuser_url
        self._folder = folder
        self._postmaster = psutil.Process(pid)

    def start(
        self, stack: contextlib.ExitStack, *open_peers: Open, url: str | None = None
    ) -> list[Peer]:
        """Starts servers until the stack is closed, without those that are not installed."""
        started = []
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        for open_peer in open_peers:
            try:
                started.append(stack.enter_context(open_peer(url or self.url, folder)))
            except NotInstalled as missing:
                print(f"without PostGraphile: {missing}")
        return started

    def database_cpu_s(self) -> float:
        return postgres_cpu_s(self._postmaster)

    async def compete(self, peers: Sequence[Peer], case: Case, size: Size) -> Runs:
        """Interleaves the servers; the first of a round is the last of the next."""
        runs: dict[str, list[Measured]] = {peer.name: [] for peer in peers}
        turns = list(peers)
        for _ in range(size.rounds):
            for peer in turns:
                await data.tidy(self._superuser_url)
                await asyncio.sleep(size.settle_s)
                runs[peer.name].append(await self.run(peer, case, size))
            turns.append(turns.pop(0))
        rates = ", ".join(f"{name} {rate(of):,.0f}" for name, of in runs.items())
        print(f"{case.name}, c={case.connections}: {rates}", flush=True)
        return runs

    async def warm(self, peers: Sequence[Peer], case: Case, size: Size) -> None:
        for peer in peers:
            await warm(
                peer.url,
                peer.requests(case),
                connections=case.connections,
                seconds=size.warm_s,
            )

    async def run(self, peer: Peer, case: Case, size: Size) -> Measured:
        return await measure(
            peer.url,
            peer.requests(case),
            connections=case.connections,
            warm_s=size.warm_s,
            seconds=size.seconds,
            cpu_s=peer.cpu_s,
            database_cpu_s=self.database_cpu_s,
        )


@contextlib.asynccontextmanager
async def open_testbed() -> AsyncIterator[Testbed]:
    """Starts PostgreSQL with the data set."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with await EmbeddedPostgres.open(folder / "postgres", settings=SETTINGS) as postgres:
            await migrations.upgrade(postgres.url)
            async with connected(postgres.superuser_url) as connection:
                pid = await connection.fetchval(
                    "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int"
                )
            yield Testbed(postgres, await fill(postgres.url), folder, pid)


def medians(runs: Sequence[Measured]) -> Measured:
    return Measured(*map(statistics.median, zip(*runs, strict=True)))


def rate(runs: Sequence[Measured]) -> float:
    return statistics.median(run.per_s for run in runs)


def ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> float:
    """Requests per second relative to another server: the median of the rounds."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(one.per_s / other.per_s for one, other in pairs)


async def fill(url: str) -> list[Case]:
    """Builds the data set; returns the cases on its rows."""
    async with connected(url) as connection:
        return cases(await data.build(connection))
