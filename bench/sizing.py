"""The table of sizes in docs/deployment.md, calculated from bench/figures; nothing is measured."""

import math
from collections.abc import Iterator

from bench import peers
from bench.clients import Measured
from bench.figures import Bench, Start

USERS = (100, 1_000, 5_000, 20_000, 100_000)
MIX = {"page of 50 tasks": 0.8, "create a task": 0.1, "toggle a task": 0.1}
"""Shares of the operations of a user who works."""
RESERVE = 4
"""Twice for peaks, and twice for what the benchmarks leave out."""
MAX_LARGE_RUNS = 8
RUN_MB = 49
"""Of a run with 3 million rows: docs/performance.md, measured by `make bench-memory`."""
CACHES_MB = 134 + 67
"""Bounds by default: HOWDAH_CATALOGUE_BYTES and HOWDAH_RUN_MAX_ROW_BYTES_TOTAL."""
POOL_SIZE = 32
HEADS = (
    "users at once",
    "processes of Howdah, a core each",
    "memory of Howdah",
    "cores of PostgreSQL",
    "connections without a pooler",
)


def cpu_ms(bench: Bench) -> tuple[float, float]:
    """CPU time of the server and of PostgreSQL for an operation of the mix."""
    found = {name: measured(bench, name) for name in MIX}
    return (
        sum(share * found[name].cpu_ms for name, share in MIX.items()),
        sum(share * found[name].database_cpu_ms for name, share in MIX.items()),
    )


def measured(bench: Bench, name: str) -> Measured:
    """Of Howdah, with the database near by."""
    return next(one.medians[peers.HOWDAH] for one in bench.near if one.name == name)


def processes(at_once: int, own_ms: float) -> int:
    fewest = 1 if at_once < 1_000 else 2  # one may fail
    return max(fewest, math.ceil(at_once * own_ms * RESERVE / 1_000))


def cores(at_once: int, database_ms: float) -> int:
    return max(1, math.ceil(at_once * database_ms * RESERVE / 1_000))


def process_mb(start: Start) -> float:
    return start.idle_mb.median + MAX_LARGE_RUNS * RUN_MB + CACHES_MB


def rows(bench: Bench, start: Start) -> Iterator[tuple[str, ...]]:
    own, database = cpu_ms(bench)
    for users in USERS:
        count = processes(users, own)
        yield (
            f"{users:,}",
            f"{count}",
            f"{count * process_mb(start) / 1_000:.1f} GB",
            f"{cores(users, database)}",
            f"{count * POOL_SIZE:,}",
        )


def derivation(bench: Bench, start: Start) -> list[str]:
    """How the table follows from the figures."""
    found = {name: measured(bench, name) for name in MIX}
    own, database = cpu_ms(bench)
    parts = (
        f"{share:.0%} {name} ({found[name].cpu_ms:.3f} and {found[name].database_cpu_ms:.3f} ms)"
        for name, share in MIX.items()
    )
    operation = (
        f"An operation takes {own:.3f} ms of CPU in Howdah and {database:.3f} ms in PostgreSQL, "
        f"the mean of {', '.join(parts)} of [performance](performance.md#requests-per-second)."
    )
    cpu = (
        f"Cores: that CPU time, {RESERVE} times: twice for peaks, and twice for what the benchmark "
        "leaves out (TLS, logs, distance, other queries, commits that wait for the disk)."
    )
    memory = (
        f"Memory of a process: {start.idle_mb.median:.0f} MB idle, {MAX_LARGE_RUNS} large runs at "
        f"{RUN_MB} MB, and {CACHES_MB} MB of caches at their bounds: {process_mb(start):.0f} MB."
    )
    assumed = "Assumed, not measured: a user at work sends one operation a second."
    pools = f"Connections: `HOWDAH_DATABASE_POOL_SIZE`, {POOL_SIZE}, for each process."
    return [operation, assumed, cpu, memory, pools]
