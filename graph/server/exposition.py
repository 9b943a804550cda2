"""Metrics of all processes in the Prometheus text format.

prometheus_client is imported by the first request for metrics, to keep it out of the start.
"""

import contextlib
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from prometheus_client import Metric

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTERS = {
    "plan_hits": "Operations whose plan was cached.",
    "plan_misses": "Operations whose plan had to be compiled.",
}
_GAUGES = {
    "database_connections_in_use": "Database connections in use.",
    "database_waiting": "Operations that wait for a database connection.",
    "events_up": "1 if the event bus works in every worker, else 0.",
    "event_readers": "Subscriptions to the event bus.",
    "streams_open": "Open sockets and streams.",
    "plans_kept": "Compiled operations in the cache.",
}
_REPORTED_AS_MINIMUM = {"events_up", "process_start_time_seconds", "process_max_fds"}
"""The server reports the minimum of these over its processes, and the sum of all others."""


class Durations(msgspec.Struct):
    """A histogram of the durations of operations with one kind and outcome."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative buckets, as Prometheus defines them."""
        names = (*map(str, _BUCKETS_S), "+Inf")
        return list(zip(names, accumulate(self.counts), strict=True))


class Snapshot(msgspec.Struct):
    """The metrics of one process at one time."""

    pid: int
    times: list[tuple[str, str, Durations]] = msgspec.field(default_factory=list)
    counters: dict[str, float] = msgspec.field(default_factory=dict)
    gauges: dict[str, float] = msgspec.field(default_factory=dict)


def page(snapshots: Sequence[Snapshot]) -> tuple[bytes, str]:
    """The page and its media type. Ended processes contribute counters, but no gauges."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Server(snapshots))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Server:
    """Collects the metrics of all processes of a server."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._all = snapshots
        self._alive = [snapshot for snapshot in snapshots if _is_alive(snapshot.pid)]

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield self._durations()
        for name, meaning in _GAUGES.items():
            values = [of.gauges[name] for of in self._alive if name in of.gauges]
            yield GaugeMetricFamily(f"howdah_{name}", meaning, value=_combine(name, values))
        for name, meaning in _COUNTERS.items():
            yield CounterMetricFamily(f"howdah_{name}", meaning, value=self._counter_total(name))
        yield GaugeMetricFamily(
            "howdah_workers",
            "Processes that serve requests.",
            value=sum(bool(snapshot.gauges) for snapshot in self._alive),
        )
        yield from self._processes()

    def _durations(self) -> "Metric":
        from prometheus_client.core import HistogramMetricFamily

        found: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        for snapshot in self._all:
            for kind, outcome, times in snapshot.times:
                together = found[kind, outcome]
                together.counts = [
                    a + b for a, b in zip(together.counts, times.counts, strict=True)
                ]
                together.total_s += times.total_s
        family = HistogramMetricFamily(
            "howdah_operation_seconds",
            "Duration of GraphQL operations by kind and outcome.",
            labels=("kind", "outcome"),
        )
        for labels, times in found.items():
            family.add_metric(labels, times.buckets(), times.total_s)
        return family

    def _counter_total(self, name: str) -> float:
        return sum(snapshot.counters.get(name, 0) for snapshot in self._all)

    def _processes(self) -> Iterator["Metric"]:
        """The metrics of ProcessCollector for all processes. Empty without /proc."""
        from prometheus_client import ProcessCollector

        families: dict[str, list[Metric]] = defaultdict(list)
        for snapshot in self._alive:
            collector = ProcessCollector(pid=lambda pid=snapshot.pid: pid, registry=None)  # type: ignore[misc]
            for family in collector.collect():
                families[family.name].append(family)
        for name, (family, *others) in families.items():
            values = [of.samples[0].value for of in (family, *others)]
            value = _combine(name, values)
            if family.type == "counter":
                value = self._counter_total("cpu_seconds")
            family.samples = [family.samples[0]._replace(value=value)]
            yield family


def _combine(name: str, values: list[float]) -> float:
    return min(values, default=0) if name in _REPORTED_AS_MINIMUM else sum(values)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
