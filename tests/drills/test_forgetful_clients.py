"""The drill of standbys finds the fault that it looks for."""

from pathlib import Path

from tests.drills.standbys import QUICK, find_anomalies_of_standbys
from tests.survival.history import recording


async def test_clients_that_forget_their_position_see_anomalies(tmp_path: Path) -> None:
    plan = QUICK._replace(forgets=True, faults=0)
    recorded = await recording.record(plan, folder=tmp_path, seed=1)
    assert recorded.standby_reads
    assert find_anomalies_of_standbys(recorded)
