"""Clients that keep a position see one order, in which no one goes back, on standbys that lag.

As in the history drill, but queries are read on two asynchronous standbys, one of which is always
late, while replicas, the primary and the standbys are killed, frozen and cut off, and replay is
paused (decision 65).
"""

from tests.drills.frame import Figure, Plan
from tests.survival.history import recording
from tests.survival.history.checker import find_anomalies
from tests.survival.history.events import Anomaly

FULL = recording.Plan(
    operations=50_000,
    users=4,
    clients=16,
    faults=40,
    longest_fault_s=10,
    reads_on_standbys=True,
)
QUICK = recording.Plan(
    operations=400, users=2, clients=6, faults=9, longest_fault_s=0.5, reads_on_standbys=True
)


async def drill(plan: Plan) -> list[Figure]:
    size = QUICK if plan.is_quick else FULL
    recorded = await recording.record(size, folder=plan.folder, seed=plan.seed)
    print(recording.summary(recorded))  # noqa: T201
    anomalies = find_anomalies_of_standbys(recorded)
    print(*[*anomalies, *recorded.internal_errors][:20], sep="\n")  # noqa: T201
    missing, unexpected, repeated = recorded.created
    return [
        Figure("anomalies in the history", 0, len(anomalies)),
        Figure("acknowledged creations that are missing", 0, missing),
        Figure("creations that happened twice", 0, repeated),
        Figure("tasks that nobody created", 0, unexpected),
        Figure("errors with the code INTERNAL", 0, len(recorded.internal_errors)),
        Figure("drills without a query on a standby", 0, not recorded.standby_reads),
    ]


def find_anomalies_of_standbys(recorded: recording.Recording) -> list[Anomaly]:
    """Anomalies of clients that share a position with the others of their user.

    Two changes that commit at once may become visible in one order on the primary and in the other
    on a standby: the "long fork", a cycle with two anti-dependencies. It is a property of
    PostgreSQL, and no client goes back.
    """
    found = find_anomalies(recorded.recorder.history)
    cycles = [anomaly for anomaly in found if not anomaly.kind.startswith("G2")]
    return [*recorded.recorder.missing, *cycles]
