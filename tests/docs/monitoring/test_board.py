"""The Grafana board shows what Howdah reports, and all of it."""

import json
from itertools import combinations
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from graph.server.metrics.catalogue import METRICS
from tests.fixtures.monitoring import ALERTS, BOARD, faults, names_in


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Of the panels, of the marks on them, and of the alerts."""
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    marks = [mark["expr"] for mark in board()["annotations"]["list"]]
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return of_panels + marks + [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("expression", expressions())
def test_expression_asks_for_metrics_and_labels_that_exist(expression: str) -> None:
    assert names_in(expression)
    assert list(faults(expression)) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(howdah_gone_total[5m])", "howdah_gone_total"),
        ('howdah_operation_seconds_count{user="ada"}', "howdah_operation_seconds_count{user}"),
        ("sum by (user) (howdah_workers)", "by (user)"),
        ("howdah_operation_seconds", "howdah_operation_seconds"),
        ('rate(howdah_runs_ended_total{le="1"}[5m])', "howdah_runs_ended_total{le}"),
    ],
)
def test_planted_fault_of_an_expression_is_found(expression: str, fault: str) -> None:
    assert list(faults(expression)) == [fault]


def test_board_shows_every_metric() -> None:
    shown = {name for expression in expressions() for name in names_in(expression)}
    missing = [
        metric.name
        for metric in METRICS
        if not shown & {metric.name, *(f"{metric.name}_{end}" for end in ("bucket", "count"))}
    ]
    assert missing == []


def test_panels_are_described_and_of_the_chosen_replicas() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        for target in panel["targets"]:
            selectors = target["expr"].count('job="$job",instance=~"$instance"')
            assert selectors == target["expr"].count("{"), panel["title"]


def test_panels_have_ids_and_places_of_their_own() -> None:
    every = board()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    for one, other in combinations([panel["gridPos"] for panel in every], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
        assert one["x"] + one["w"] <= 24
