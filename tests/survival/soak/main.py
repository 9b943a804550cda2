"""Sessions, tasks, subscriptions and failing databases of twenty users on replicas that restart.

make soak                      ten minutes
make soak MINUTES=2            shorter; ARGS="--seed 3" repeats the choices of another run

Two replicas run on one database. Their clients cancel statements, drop connections and go away in
the middle of transactions. In the first 40 % of the time a replica is killed with SIGKILL and
started again, over and over; then all restart one after the other. For the rest of the time their
processes are measured: what they hold does not grow.
"""

import argparse
import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from db.postgres.embedded import EmbeddedPostgres
from tests.drills.frame import HEADER, Figure, broken_promises
from tests.fixtures.targets import running_target
from tests.survival.soak.ledger import Fate
from tests.survival.soak.soak import LEFT_S, Plan, Report, soak

USERS, SESSIONS, NEIGHBOURS = 20, 100, 10
KILL_EVERY_S = 15.0
CANCEL_MS = 2_000
SLOWEST_S = 30


def figures_of(report: Report) -> Iterator[Figure]:
    figures, findings, tasks = report.figures, report.findings, report.tasks
    yield Figure("acknowledged commits that are missing", 0, findings.missing)
    yield Figure("rows that nobody committed", 0, findings.unexpected)
    yield Figure("rows that were inserted twice", 0, findings.repeated)
    yield Figure("acknowledged tasks that are missing", 0, tasks.missing)
    yield Figure("tasks that were created twice or by nobody", 0, tasks.repeated + tasks.unexpected)
    yield Figure("repeatable calls that failed in the end", 0, figures.failed_repeatable)
    yield Figure("connections left on the target", 0, report.backends)
    yield Figure("sessions left open", 0, report.open_sessions)
    yield Figure("runs left queued or running", 0, report.active_runs)
    yield Figure("errors with the code INTERNAL", 0, len(figures.internal_errors))
    yield Figure("slowest repeatable call with its repetitions", SLOWEST_S, figures.slowest[0], "s")
    lost_s = max(figures.lost_s)
    yield Figure("sessions of a killed replica are closed within", LEFT_S, lost_s, "s")
    yield Figure("a cancelled statement ends within", CANCEL_MS, max(figures.cancel_ms), "ms")
    growth = report.growth
    yield Figure("memory of the replicas grows by", 40, growth.memory_mb, "MB")
    yield Figure("their open descriptors grow by", 30, growth.descriptors)
    yield Figure("their connections grow by", 30, growth.connections)
    yield Figure("their asyncio tasks grow by", 40, growth.tasks)
    yield Figure("their Python objects grow by", 20_000, growth.objects)


def show(report: Report) -> bool:
    """Prints what happened, and each promise beside its figure. Returns whether all are kept."""
    figures, ledger = report.figures, report.ledger
    print(  # noqa: T201
        f"{figures.sessions} sessions, {figures.statements} statements, "
        f"{figures.requests} requests, {figures.repeatable} of them repeatable, "
        f"{figures.cancels} cancels, {figures.failed_runs} runs on a dead database, "
        f"{figures.events} events, {figures.kills} kills, {figures.restarts} restarts, "
        f"{figures.dropped} dropped connections, {figures.unanswered} requests without an answer\n"
        f"rows: {ledger.count(Fate.PRESENT)} acknowledged, {ledger.count(Fate.EITHER)} of unknown "
        f"outcome, {ledger.count(Fate.ABSENT)} not committed\n"
        f"slowest repeatable call: {figures.slowest[1]}\n"
    )
    found = list(figures_of(report))
    print(HEADER, *found, sep="\n")  # noqa: T201
    print(*figures.internal_errors[:5], sep="\n")  # noqa: T201
    return not broken_promises(found, is_quick=False)


async def run(minutes: float, seed: int) -> bool:
    plan = Plan(
        calm_s=0.6 * minutes * 60,
        users=USERS,
        sessions=SESSIONS,
        neighbours=NEIGHBOURS,
        kill_every_s=KILL_EVERY_S,
        kills=int(0.4 * minutes * 60 / KILL_EVERY_S),
    )
    print(f"seed {seed}")  # noqa: T201
    async with contextlib.AsyncExitStack() as stack:
        folder, of_target = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="howdah-soak-")))
            for _ in range(2)
        )
        own = await stack.enter_async_context(await EmbeddedPostgres.open(folder / "own"))
        target = await stack.enter_async_context(
            running_target(of_target, max_connections=2 * SESSIONS + 50)
        )
        report = await soak(plan, database_url=own.url, target=target, folder=folder, seed=seed)
    return show(report)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(arguments.minutes, arguments.seed)) else 1)


if __name__ == "__main__":
    main()
