"""docs/monitoring/index.md lists every metric, with its labels, type and meaning in the code."""

from pathlib import Path

from graph.server.metrics.catalogue import METRICS, Metric

PAGE = Path(__file__).parents[2] / "docs" / "monitoring" / "index.md"


def row_of(metric: Metric) -> str:
    labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
    return f"| `{metric.name}{labels}` | {metric.kind} | {metric.meaning} |"


def test_monitoring_page_lists_each_metric_once() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `howdah_")]
    assert rows == [row_of(metric) for metric in METRICS]


def test_metrics_have_names_of_their_own_and_bounded_labels() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    labels = {label for metric in METRICS for label in metric.labels}
    assert labels.isdisjoint({"user", "owner", "viewer", "name", "operation", "address", "query"})
