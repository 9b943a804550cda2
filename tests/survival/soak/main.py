"""One hundred sessions of twenty users, with random statements, while replicas are killed.

make soak-sessions             five minutes
make soak-sessions MINUTES=1   shorter; ARGS="--seed 3" repeats the choices of another run

Two replicas run on one database. Their clients cancel statements, drop connections and go away in
the middle of transactions; a replica is killed with SIGKILL and started again, over and over.
"""

import argparse
import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from db.postgres.embedded import EmbeddedPostgres
from tests.fixtures.targets import running_target
from tests.survival.soak.ledger import Fate
from tests.survival.soak.soak import LEFT_S, Plan, Report, soak

USERS, SESSIONS = 20, 100
KILL_EVERY_S = 20.0
CANCEL_MS = 2_000


class Promise(NamedTuple):
    name: str
    most: float
    measured: float
    unit: str = ""

    @property
    def is_kept(self) -> bool:
        return self.measured <= self.most


def promises(report: Report) -> Iterator[Promise]:
    figures, findings = report.figures, report.findings
    yield Promise("acknowledged commits that are missing", 0, findings.missing)
    yield Promise("rows that nobody committed", 0, findings.unexpected)
    yield Promise("rows that were inserted twice", 0, findings.repeated)
    yield Promise("connections left on the target", 0, report.backends)
    yield Promise("sessions left open", 0, report.open_sessions)
    yield Promise("runs left queued or running", 0, report.active_runs)
    yield Promise("errors with the code INTERNAL", 0, len(figures.internal_errors))
    yield Promise(
        "sessions of a killed replica are closed within", LEFT_S, max(figures.lost_s), "s"
    )
    yield Promise("a cancelled statement ends within", CANCEL_MS, max(figures.cancel_ms), "ms")


def show(report: Report) -> bool:
    """Prints what happened, and each promise beside its figure. Returns whether all are kept."""
    figures, ledger = report.figures, report.ledger
    print(  # noqa: T201
        f"{figures.sessions} sessions, {figures.statements} statements, "
        f"{figures.requests} requests, {figures.cancels} cancels, {figures.kills} kills, "
        f"{figures.dropped} dropped connections, {figures.unanswered} requests without an answer\n"
        f"rows: {ledger.count(Fate.PRESENT)} acknowledged, {ledger.count(Fate.EITHER)} of unknown "
        f"outcome, {ledger.count(Fate.ABSENT)} not committed"
    )
    print(f"\n{'':48}{'promise':>12}{'measured':>12}")  # noqa: T201
    kept = True
    for promise in promises(report):
        kept &= promise.is_kept
        print(  # noqa: T201
            f"{promise.name:48}{promise.most:8.0f} {promise.unit:3}{promise.measured:8.1f} "
            f"{promise.unit:3}{'' if promise.is_kept else '   MISSED'}"
        )
    for message in figures.internal_errors[:5]:
        print(message)  # noqa: T201
    return kept


async def run(minutes: float, seed: int) -> bool:
    kills = int(minutes * 60 / KILL_EVERY_S)
    plan = Plan(minutes * 60, USERS, SESSIONS, KILL_EVERY_S, kills)
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
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(arguments.minutes, arguments.seed)) else 1)


if __name__ == "__main__":
    main()
