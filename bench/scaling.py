"""The tables of docs/scale.md, calculated from bench/figures; nothing is measured."""

from collections.abc import Iterator

from bench import sizing
from bench.figures import Bench

USERS = (1_000, 10_000, 100_000, 1_000_000)
AT_ONCE = 0.1
"""Share of all users who work in the busiest hour. Each sends one operation a second."""
READS = "page of 50 tasks"
KB_PER_USER = {
    "300 tasks of 1 kB": 300 * 1.0,
    "200 runs with small results of 3 kB": 200 * 3.0,
    "200 audit events of 0.5 kB": 200 * 0.5,
}
FILES_MB_PER_USER = 100
WAL_KB = 2
"""Of a change, on average, with the copies of pages after a checkpoint."""

LOAD_HEADS = (
    "users",
    "at once",
    "operations a second",
    "changes a second",
    "processes of Howdah, a core each",
    "cores of the primary",
    "of them for changes",
)
DATA_HEADS = (
    "users",
    "rows and indexes",
    "write-ahead log",
    "bytes of files",
    "server connections",
)


def load(bench: Bench) -> Iterator[tuple[str, ...]]:
    own, database = sizing.cpu_ms(bench)
    changes = database - sizing.MIX[READS] * sizing.measured(bench, READS).database_cpu_ms
    for users in USERS:
        at_once = round(users * AT_ONCE)
        yield (
            f"{users:,}",
            f"{at_once:,}",
            f"{at_once:,}",
            f"{at_once * (1 - sizing.MIX[READS]):,.0f}",
            f"{sizing.processes(at_once, own)}",
            f"{sizing.cores(at_once, database)}",
            f"{sizing.cores(at_once, changes)}",
        )


def data(bench: Bench) -> Iterator[tuple[str, ...]]:
    own, _ = sizing.cpu_ms(bench)
    for users in USERS:
        at_once = round(users * AT_ONCE)
        changes = at_once * (1 - sizing.MIX[READS])
        yield (
            f"{users:,}",
            f"{users * sum(KB_PER_USER.values()) / 1e6:,.0f} GB",
            f"{changes * WAL_KB / 1e3:,.1f} MB/s",
            f"{users * FILES_MB_PER_USER / 1e6:,.1f} TB",
            f"{sizing.processes(at_once, own) * sizing.POOL_SIZE:,}",
        )


def derivation(bench: Bench) -> list[str]:
    """The assumptions, and how the tables follow from them and the figures."""
    own, database = sizing.cpu_ms(bench)
    reads = sizing.MIX[READS]
    share = reads * sizing.measured(bench, READS).database_cpu_ms / database
    rows_mb, parts = sum(KB_PER_USER.values()) / 1e3, ", ".join(KB_PER_USER)
    at_work = (
        f"Assumed: {AT_ONCE:.0%} of all users are at work in the busiest hour, and each of them "
        "sends one operation a second."
    )
    mix = (
        f"Assumed: {reads:.0%} of the operations are reads ({READS}), the others create and toggle "
        "tasks."
    )
    cpu = (
        f"Measured: {own:.3f} ms of CPU in Howdah and {database:.3f} ms in PostgreSQL for an "
        f"operation of this mix ([sizes](deployment.md#7-sizes)); reads are {share:.0%} of the "
        f"latter. As there, cores are that time, {sizing.RESERVE} times."
    )
    size = (
        f"Assumed: a user has {rows_mb:.1f} MB of rows with indexes ({parts}) and "
        f"{FILES_MB_PER_USER} MB of files. A change writes {WAL_KB} kB of write-ahead log."
    )
    pools = (
        f"Server connections: `HOWDAH_DATABASE_POOL_SIZE`, {sizing.POOL_SIZE}, for each process, "
        "without a pooler."
    )
    return [at_work, mix, cpu, size, pools]
