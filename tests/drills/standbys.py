"""Clients that keep a position see one order, in which no one goes back, on standbys that lag.

As in the history drill, but queries are read on two standbys, one of which is always late, while
replicas, the primary and the standbys are killed, frozen and cut off, replay is paused, and the
standby that has received most is promoted (decision 65).
"""

from tests.drills.frame import Figure, Plan
from tests.drills.history import report
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
    operations=400, users=2, clients=6, faults=10, longest_fault_s=0.5, reads_on_standbys=True
)


async def drill(plan: Plan) -> list[Figure]:
    size = QUICK if plan.is_quick else FULL
    recorded = await recording.record(size, folder=plan.folder, seed=plan.seed)
    return [
        *report(recorded, find_anomalies_of_standbys(recorded)),
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
