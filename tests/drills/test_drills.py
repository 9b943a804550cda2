"""The quick form of each drill keeps its promises, and a broken promise is reported."""

from pathlib import Path

import pytest

from tests.drills.frame import Figure, FoundDrill, Plan, broken_promises, find_drills


@pytest.mark.parametrize("drill", find_drills(), ids=lambda drill: drill.name)
async def test_drill_keeps_its_promises_in_quick_form(drill: FoundDrill, tmp_path: Path) -> None:
    figures = await drill.run(Plan(tmp_path, is_quick=True))
    assert figures
    assert broken_promises(figures, is_quick=True) == [], "\n".join(map(str, figures))


def test_drill_has_a_title() -> None:
    assert all(drill.title for drill in find_drills())


def test_broken_promise_is_reported() -> None:
    kept, count, time = Figure("kept", 0, 0), Figure("lost rows", 0, 1), Figure("slow", 3, 4, "s")
    assert broken_promises([kept, count, time], is_quick=False) == ["lost rows", "slow"]
    assert broken_promises([kept, count, time], is_quick=True) == ["lost rows"]
    assert str(count).endswith("MISSED")
    assert not str(kept).endswith("MISSED")
