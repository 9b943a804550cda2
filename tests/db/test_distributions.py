import pytest

from db.distributions import SECONDS, SLOWNESS_S, Distribution
from db.errors import Overloaded


def test_distribution_counts_a_value_up_to_its_bound() -> None:
    found = Distribution((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        found.add(value)
    assert (found.counts, found.sum) == ([2, 1, 1], 5.5)


@pytest.mark.parametrize("value", [0.0005, 0.05, 0.0501, 0.25, 1.0, 3.0, 5.0, 5.1, 61.0])
def test_distribution_is_merged_into_one_with_fewer_bounds(value: float) -> None:
    fine, coarse, merged = Distribution(SECONDS), Distribution(SLOWNESS_S), Distribution(SLOWNESS_S)
    fine.add(value)
    coarse.add(value)
    merged.merge(fine)
    assert (merged.counts, merged.sum) == (coarse.counts, coarse.sum)


def test_overloaded_counts_its_cause() -> None:
    before = Overloaded.causes["figures"]
    Overloaded("No room.", hint="Wait.", cause="figures")
    assert Overloaded.causes["figures"] == before + 1
