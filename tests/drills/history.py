"""Clients of three replicas see one order of all changes, whatever fails.

Lists, registers and creations are changed and read by any replica, while replicas are killed and
frozen, cut off from the database and reset, and the database is restarted, frozen, and replaced by
its standby. Then a checker looks for what no order explains (decision 64).
"""

from collections.abc import Sequence

from tests.drills.frame import Figure, Plan
from tests.survival.history import recording
from tests.survival.history.checker import find_anomalies
from tests.survival.history.events import Anomaly

FULL = recording.Plan(operations=100_000, users=4, clients=16, faults=60, longest_fault_s=20)
QUICK = recording.Plan(operations=400, users=2, clients=6, faults=8, longest_fault_s=0.5)
RECOVERED_S = 5
"""From the end of a fault, without a restart."""


async def drill(plan: Plan) -> list[Figure]:
    size = QUICK if plan.is_quick else FULL
    recorded = await recording.record(size, folder=plan.folder, seed=plan.seed)
    anomalies = [*recorded.recorder.missing, *find_anomalies(recorded.recorder.history)]
    return [
        *report(recorded, anomalies),
        *(
            Figure(f"all replicas write again after a {kind}", RECOVERED_S, max(times), "s")
            for kind, times in recorded.recovered_s.items()
        ),
    ]


def report(recorded: recording.Recording, anomalies: Sequence[Anomaly]) -> list[Figure]:
    """Prints what happened, and returns the figures of every history."""
    print(recording.summary(recorded))  # noqa: T201
    print(*[*anomalies, *recorded.internal_errors][:20], sep="\n")  # noqa: T201
    missing, unexpected, repeated = recorded.created
    return [
        Figure("anomalies in the history", 0, len(anomalies)),
        Figure("acknowledged creations that are missing", 0, missing),
        Figure("creations that happened twice", 0, repeated),
        Figure("tasks that nobody created", 0, unexpected),
        Figure("errors with the code INTERNAL", 0, len(recorded.internal_errors)),
    ]
