"""Attacks on a served Howdah, in their long form: what is promised, and what was measured.

make attack                    about a minute
make attack ARGS="--quick"     small, without a verdict
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from bench.desk import EXECUTE, Desk, at_a_desk, machine
from bench.verdict import judge
from tests.fixtures.huge_rows import huge_rows
from tests.fixtures.ssh_flood import flooding_ssh

MB = 1_000_000
RUNS = 8
ADDED_MB = 200
DELAY_MS = 250
EVERY_S = 0.01
SAVE = (
    "mutation($input: SaveConnectionInput!) { saveConnection(input: $input) { connection { id } } }"
)
TEST = "mutation($input: TestConnectionInput!) { testConnection(input: $input) { ok } }"
END = "query($id: ID!) { queryRun(id: $id) { state error { code } } }"


class Size(NamedTuple):
    cell_bytes: int
    ssh_servers: int


FULL = Size(cell_bytes=1_000_000_000, ssh_servers=16)
QUICK = Size(cell_bytes=50 * MB, ssh_servers=2)


class Attack(NamedTuple):
    """An attack; `run` returns the measured figure, which must be below `promise`."""

    name: str
    promise: float
    unit: str
    run: Callable[[Desk, Size], Awaitable[float]]


def main() -> None:
    judge(__doc__, attack, FULL, QUICK)


async def attack(size: Size) -> list[str]:
    """Returns the attacks that broke their promise."""
    broken = []
    async with at_a_desk() as desk:
        print(f"{machine(desk.target)}\n\n{'':52}{'promise':>12}{'measured':>12}")  # noqa: T201
        for one in ATTACKS:
            figure = await one.run(desk, size)
            print(f"{one.name:52}{one.promise:8.0f} {one.unit}{figure:8.0f} {one.unit}")  # noqa: T201
            if figure >= one.promise:
                broken.append(one.name)
    return broken


async def read_huge_cells(desk: Desk, size: Size) -> float:
    """Megabytes that eight runs of huge cells add to the process."""
    async with huge_rows(size.cell_bytes) as port:
        mine = await desk.ask(SAVE, input=_connection(port))
        values = {
            "connectionId": mine["saveConnection"]["connection"]["id"],
            "statement": "SELECT huge",
            "waitMs": 30_000,
        }
        idle = desk.process.memory_info().rss
        async with watching(lambda: desk.process.memory_info().rss) as peak:
            started = await asyncio.gather(*(desk.ask(EXECUTE, input=values) for _ in range(RUNS)))
        for run in started:
            ended = await desk.ask(END, id=run["executeQuery"]["run"]["id"])
            assert ended["queryRun"]["error"]["code"] == "TOO_LARGE", ended
    return (max(peak) - idle) / MB


async def flood_tunnels(desk: Desk, size: Size) -> float:
    """The longest time of a small query while SSH servers send packets without end."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(flooding_ssh()) for _ in range(size.ssh_servers)]
        tests = asyncio.gather(*(desk.ask(TEST, input=_through(port)) for port in ports))
        longest = 0.0
        while not tests.done():
            began = time.perf_counter()
            await desk.ask("{ viewer { id } }")
            longest = max(longest, time.perf_counter() - began)
        await tests
    return longest * 1000


@contextlib.asynccontextmanager
async def watching(measure: Callable[[], int]) -> AsyncIterator[list[int]]:
    figures = [measure()]

    async def watch() -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            figures.append(measure())

    task = asyncio.create_task(watch())
    try:
        yield figures
    finally:
        task.cancel()


def _connection(port: int) -> dict[str, Any]:
    return {
        "name": f"Hostile {port}",
        "host": "127.0.0.1",
        "port": port,
        "database": "postgres",
        "username": "ada",
        "sslMode": "DISABLE",
    }


def _through(port: int) -> dict[str, Any]:
    tunnel = {
        "host": "127.0.0.1",
        "port": port,
        "username": "ada",
        "authMethod": "PASSWORD",
        "password": "none",
        "hostKeyFingerprint": "SHA256:" + "A" * 43,
    }
    return _connection(5432) | {"sshTunnel": tunnel}


ATTACKS = [
    Attack(f"{RUNS} runs of huge cells add", ADDED_MB, "MB", read_huge_cells),
    Attack("SSH servers flood; the longest small query", DELAY_MS, "ms", flood_tunnels),
]

if __name__ == "__main__":
    main()
