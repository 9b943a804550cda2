"""Several users while a replica is killed: the short form of `make soak`."""

from pathlib import Path
from uuid import uuid4

from tests.fixtures.targets import Target
from tests.survival.soak.gauges import Gauges, Sample
from tests.survival.soak.ledger import Fate, Findings, Ledger
from tests.survival.soak.soak import Plan, soak

QUICK = Plan(
    calm_s=5,
    users=5,
    sessions=20,
    neighbours=3,
    kill_every_s=3,
    kills=1,
    has_rolling_restart=False,
)


async def test_acknowledged_commits_survive_a_killed_replica_and_nothing_else_does(
    committed_url: str, target: Target, tmp_path: Path
) -> None:
    report = await soak(QUICK, database_url=committed_url, target=target, folder=tmp_path, seed=7)
    figures = report.figures
    assert report.findings == Findings(missing=0, unexpected=0, repeated=0), figures
    assert report.tasks == Findings(missing=0, unexpected=0, repeated=0), figures
    assert (report.backends, report.open_sessions, report.active_runs) == (0, 0, 0), figures
    assert not figures.internal_errors
    assert report.ledger.count(Fate.PRESENT) > 0
    assert figures.kills > 0
    assert figures.cancels > 0
    assert figures.failed_repeatable == 0
    assert min(figures.repeatable, figures.failed_runs, figures.events) > 0
    assert all(count > 0 for sample in report.samples for count in sample)
    assert max(figures.lost_s) < 30


def test_ledger_finds_each_kind_of_wrong_row() -> None:
    ledger = Ledger()
    committed, rolled_back, unknown = (ledger.new_row() for _ in range(3))
    ledger.settle([committed], Fate.PRESENT)
    ledger.settle([unknown], Fate.EITHER)
    for kept in ({committed: 1}, {committed: 1, unknown: 1}):
        assert ledger.compare(kept) == Findings(missing=0, unexpected=0, repeated=0)
    wrong = {rolled_back: 1, unknown: 2, uuid4(): 1}
    assert ledger.compare(wrong) == Findings(missing=1, unexpected=2, repeated=1)


def test_growth_leaves_out_the_time_in_which_caches_fill(tmp_path: Path) -> None:
    gauges = Gauges(tmp_path)
    gauges.samples += [Sample(*(5 * [float(count)])) for count in (1, 9, 9, 8, 9, 9, 12, 14)]
    assert gauges.growth() == Sample(4.5, 4.5, 4.5, 4.5, 4.5)
