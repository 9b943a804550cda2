"""README, the page of performance and its plots show the figures that the benchmarks measured."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench import figures, pages, plots
from bench.clients import Measured
from bench.figures import Bench, Growth, Result

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(pages.rendered()))
def test_page_shows_the_measured_figures(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == pages.rendered()[name]


def test_page_has_each_block_once() -> None:
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in pages.PAGES)
    found = re.findall(r"<!-- bench: ([a-z]+) -->", text)
    assert sorted(found) == ["ablation", "figures", "growth", "scale", "sizes", "start", "summary"]


def test_readme_has_the_ratios_of_the_page() -> None:
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in pages.PAGES[:2])
    of_readme = rows_below(readme, "<!-- bench: summary -->")
    of_page = rows_below(page, "<!-- bench: figures -->")
    assert len(of_readme) == 9
    for name, clients, postgraphile, stock, limit in of_readme:
        assert [name, clients, limit, postgraphile, stock] == next(
            [name, clients, row[2], row[5], row[7]] for row in of_page if row[:2] == [name, clients]
        )


def test_changed_figure_changes_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    read, before = figures.read, pages.rendered()

    def read_slower(name: str, kind: type[Any]) -> Any:
        found = read(name, kind)
        if not isinstance(found, Bench):
            return found
        one = found.near[0]
        slower = {peer: ratio / 2 for peer, ratio in one.ratios.items()}
        changed = Result(one.name, one.connections, one.small, one.goals, one.medians, slower)
        return Bench(
            found.machine, found.rounds, found.seconds, [changed, *found.near[1:]], 30, found.far
        )

    monkeypatch.setattr(figures, "read", read_slower)
    after = pages.rendered()
    assert {name for name in before if before[name] != after[name]} == set(pages.PAGES[:2])


def test_plot_places_points_by_their_logarithm() -> None:
    def measured(per_s: float) -> Measured:
        return Measured(per_s, 1, 1, 1 / per_s, 0)

    by_clients = {"Howdah": {1: measured(10), 10: measured(100), 100: measured(1_000)}}
    growth = Growth([], 1, 1, by_clients, by_clients, by_clients)
    points = re.findall(
        r"<circle cx='([\d.]+)' cy='([\d.]+)'", plots.draw(plots.PLOTS["growth-clients"], growth)
    )
    (left, low), (middle, half), (right, high) = [(float(x), float(y)) for x, y in points]
    assert middle == pytest.approx((left + right) / 2, abs=0.1)
    assert half == pytest.approx((low + high) / 2, abs=0.1)
    assert left < right
    assert high < low


def rows_below(text: str, marker: str) -> list[list[str]]:
    """The cells of the first table below a marker."""
    lines = iter(text.partition(marker)[2].splitlines())
    for line in lines:
        if line.startswith("| ---"):
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
