"""What Prometheus is told: numbers, under labels of which there are few. Nothing of users."""

from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from db.services import Services
from graph.operations import Plans
from graph.shutdown import Shutdown

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts operations as they end; looks at everything else when asked."""

    def __init__(self, services: Services, plans: Plans, shutdown: Shutdown) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(services, plans, shutdown))
        ProcessCollector(registry=self._registry)
        seconds = Histogram(
            "howdah_operation_seconds",
            "How long GraphQL operations took, by kind and outcome.",
            ("kind", "outcome"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._seconds = lru_cache(seconds.labels)  # finding it costs more than counting

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        self._seconds(kind, outcome).observe(seconds)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


class _State(Collector):
    """The parts of a server as they are at the moment of asking."""

    def __init__(self, services: Services, plans: Plans, shutdown: Shutdown) -> None:
        self._services = services
        self._plans = plans
        self._shutdown = shutdown

    def collect(self) -> Iterator[Metric]:
        database, events, plans = self._services.database, self._services.events, self._plans
        yield _gauge("database_connections_in_use", "Lent connections.", database.in_use)
        yield _gauge("database_waiting", "Operations that wait for one.", database.waiting)
        yield _gauge("events_up", "Whether the event bus works: 1 or 0.", events.is_up)
        yield _gauge("event_readers", "Subscriptions to the event bus.", events.readers)
        yield _gauge("streams_open", "Open sockets and streams.", self._shutdown.streams)
        yield _gauge("plans_kept", "Compiled operations in memory.", plans.count)
        yield CounterMetricFamily(
            "howdah_plan_hits", "Operations whose plan was kept.", value=plans.hits
        )
        yield CounterMetricFamily(
            "howdah_plan_misses", "Operations whose plan had to be made.", value=plans.misses
        )

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: to be registered must not be a look already."""
        return iter(())


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"howdah_{name}", meaning, value=value)
