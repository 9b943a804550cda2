"""Sets the instruments of prometheus_client to what the parts of the process have counted."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from db.distributions import Distribution
from graph.server.metrics.catalogue import Metric, Sample


class Instruments:
    """The instruments of a registry, each made with its first sample."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._families: dict[str, Any] = {}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._counted: dict[Any, Any] = {}

    def record(self, samples: Iterable[Sample]) -> None:
        for metric, labels, value in samples:
            child = self._child(metric, labels)
            if isinstance(value, Distribution):
                self._add_values(child, value)
            elif metric.kind == "counter":
                self._count_to(child, value)
            else:
                child.set(value)

    def _child(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        key = (metric.name, labels)
        child = self._children.get(key)
        if child is None:  # `labels` takes longer than what is done with its result
            family = self._families.get(metric.name)
            if family is None:
                family = self._families[metric.name] = _make(metric, self._registry)
            child = self._children[key] = family.labels(*labels) if labels else family
        return child

    def _count_to(self, child: Any, total: float) -> None:
        """Increase a counter to a total of this process, beyond the count of its predecessor."""
        child.inc(total - self._counted.get(child, 0.0))
        self._counted[child] = total

    def _add_values(self, child: Any, found: Distribution) -> None:
        counts, before = list(found.counts), self._counted.get(child)
        if counts == before:
            return
        sum_before = self._counted.get((child, "sum"), 0.0)
        for bucket, count, earlier in zip(
            child._buckets,  # noqa: SLF001 - `observe` takes one value, and takes 2.5 us for it
            counts,
            before or [0] * len(counts),
            strict=True,
        ):
            if count != earlier:
                bucket.inc(count - earlier)
        child._sum.inc(found.sum - sum_before)  # noqa: SLF001
        self._counted[child], self._counted[child, "sum"] = counts, found.sum


def _make(metric: Metric, registry: CollectorRegistry) -> Any:
    name, meaning, labels = metric.name, metric.meaning, metric.labels
    match metric.kind:
        case "counter":
            return Counter(name, meaning, labels, registry=registry)
        case "gauge":
            return Gauge(name, meaning, labels, registry=registry, multiprocess_mode=metric.workers)
        case "histogram":
            return Histogram(name, meaning, labels, buckets=metric.bounds, registry=registry)
