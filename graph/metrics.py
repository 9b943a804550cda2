"""What Prometheus is told: numbers, under labels of which there are few. Nothing of users.

prometheus_client is loaded by the first who asks: a start should not wait for it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from db.services import Services
from graph.operations import Plans
from graph.shutdown import Shutdown

if TYPE_CHECKING:
    from prometheus_client import Metric

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Times:
    """How long operations of one kind and outcome took."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Each holds those before it too, as Prometheus wants them."""
        names = (*map(str, _BUCKETS_S), "+Inf")
        return list(zip(names, accumulate(self.counts), strict=True))


class Metrics:
    """Counts operations as they end; looks at everything else when asked."""

    def __init__(self, services: Services, plans: Plans, shutdown: Shutdown) -> None:
        self._services = services
        self._plans = plans
        self._shutdown = shutdown
        self._times: defaultdict[tuple[str, str], _Times] = defaultdict(_Times)

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        self._times[kind, outcome].add(seconds)

    def page(self) -> tuple[bytes, str]:
        """As Prometheus reads it, and the media type of that."""
        from prometheus_client import (
            CONTENT_TYPE_LATEST,
            CollectorRegistry,
            ProcessCollector,
            generate_latest,
        )

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import HistogramMetricFamily

        times = HistogramMetricFamily(
            "howdah_operation_seconds",
            "How long GraphQL operations took, by kind and outcome.",
            labels=("kind", "outcome"),
        )
        for labels, found in self._times.items():
            times.add_metric(labels, found.buckets(), found.total_s)
        yield times
        yield from self._state()

    def _state(self) -> Iterator["Metric"]:
        """The parts of the server as they are now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        database, events, plans = self._services.database, self._services.events, self._plans
        for name, meaning, value in (
            ("database_connections_in_use", "Lent connections.", database.in_use),
            ("database_waiting", "Operations that wait for a connection.", database.waiting),
            ("events_up", "Whether the event bus works: 1 or 0.", events.is_up),
            ("event_readers", "Subscriptions to the event bus.", events.readers),
            ("streams_open", "Open sockets and streams.", self._shutdown.streams),
            ("plans_kept", "Compiled operations in memory.", plans.count),
        ):
            yield GaugeMetricFamily(f"howdah_{name}", meaning, value=value)
        for name, meaning, value in (
            ("plan_hits", "Operations whose plan was kept.", plans.hits),
            ("plan_misses", "Operations whose plan had to be made.", plans.misses),
        ):
            yield CounterMetricFamily(f"howdah_{name}", meaning, value=value)
