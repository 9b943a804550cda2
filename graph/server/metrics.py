"""Metrics of the server in the Prometheus text format. They contain no data of users.

Workers use the multiprocess mode of prometheus_client: each writes files in a folder of the
parent, and any of them reports the metrics of all (docs/decisions/0014-metrics-of-workers.md).
"""

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import NoReturn

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from db.services import Services
from graph.operations import Plans
from graph.transport.gateway import Shutdown

PUBLISH_INTERVAL_S = 1.0
PAGE_PAUSE = 9.0
"""Time for which a page is kept, as a multiple of the time to make it."""

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILES = ("counter", "histogram", "gauge_livesum", "gauge_livemin")
_FILE_BYTES = 65_536  # the size that prometheus_client gives a new file
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REPORTED_AS_MINIMUM = {"howdah_events_up", "process_start_time_seconds", "process_max_fds"}
"""A server reports the minimum of these gauges over its workers, and the sum of all others."""

disable_created_metrics()


def share_metrics(folder: str, worker: int) -> None:
    """Write the metrics of this process to files. Call it before `Metrics` is created.

    The files are named by the number of the worker, not by its process ID: its successor continues
    the counters, and their number stays constant.
    """
    os.environ[_FOLDER_VARIABLE] = folder
    values.ValueClass = values.MultiProcessValue(lambda: worker)
    for kind in _FILES:
        path = Path(folder, f"{kind}_{worker}.db")
        if not path.exists():
            # prometheus_client sets the size after the creation: reading an empty file fails.
            fresh = path.with_suffix(".new")
            fresh.write_bytes(bytes(_FILE_BYTES))
            fresh.rename(path)


class Metrics:
    """Observes operations as they end, and reads all other values before they are reported."""

    def __init__(self, services: Services, plans: Plans, shutdown: Shutdown) -> None:
        self._services = services
        self._plans = plans
        self._shutdown = shutdown
        self._registry = CollectorRegistry()
        self._process = ProcessCollector(registry=None)
        self._durations = Histogram(
            "howdah_operation_seconds",
            "Duration of GraphQL operations by kind and outcome.",
            ("kind", "outcome"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._of_outcome: dict[tuple[str, str], Histogram] = {}
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._counted: defaultdict[str, float] = defaultdict(float)
        self._page: tuple[bytes, str] | None = None
        self._page_until = 0.0

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        durations = self._of_outcome.get((kind, outcome))
        if durations is None:  # `labels` takes longer than `observe`
            durations = self._of_outcome[kind, outcome] = self._durations.labels(kind, outcome)
        durations.observe(seconds)

    def page(self) -> tuple[bytes, str]:
        """The metrics of all workers, and the media type.

        Many readers get the same page, so that they take at most a tenth of the time of the loop.
        """
        began = time.monotonic()
        if self._page is None or began >= self._page_until:
            self._page = self._make_page(), CONTENT_TYPE_LATEST
            now = time.monotonic()
            self._page_until = now + PAGE_PAUSE * (now - began)
        return self._page

    def _make_page(self) -> bytes:
        self._refresh()
        registry = self._registry
        if folder := os.environ.get(_FOLDER_VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)
        return generate_latest(registry)

    async def keep_publishing(self) -> NoReturn:
        """Refresh the values that other workers report."""
        while True:
            self._refresh()
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    def _refresh(self) -> None:
        database, events, plans = self._services.database, self._services.events, self._plans
        gauge, count_to = self._set_gauge, self._count_to
        gauge("howdah_database_connections_in_use", "Database connections in use.", database.in_use)
        gauge(
            "howdah_database_waiting",
            "Operations that wait for a database connection.",
            database.waiting,
        )
        gauge("howdah_events_up", "1 if the event bus works in every worker, else 0.", events.is_up)
        gauge("howdah_event_readers", "Subscriptions to the event bus.", events.readers)
        gauge("howdah_streams_open", "Open sockets and streams.", self._shutdown.streams)
        sessions = self._services.database_sessions.open_count
        gauge("howdah_database_sessions_open", "Open sessions on users' databases.", sessions)
        gauge("howdah_plans_kept", "Compiled operations in the cache.", plans.count)
        gauge("howdah_workers", "Processes that serve requests.", 1)
        count_to("howdah_plan_hits", "Operations whose plan was cached.", plans.hits)
        count_to("howdah_plan_misses", "Operations whose plan had to be compiled.", plans.misses)
        for family in self._process.collect():  # empty without /proc
            refresh = count_to if family.type == "counter" else gauge
            refresh(family.name, family.documentation, family.samples[0].value)

    def _set_gauge(self, name: str, meaning: str, value: float) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(
                name,
                meaning,
                multiprocess_mode="livemin" if name in _REPORTED_AS_MINIMUM else "livesum",
                registry=self._registry,
            )
        self._gauges[name].set(value)

    def _count_to(self, name: str, meaning: str, total: float) -> None:
        """Increase a counter to a total of this process, beyond the count of its predecessor."""
        if name not in self._counters:
            self._counters[name] = Counter(name, meaning, registry=self._registry)
        self._counters[name].inc(total - self._counted[name])
        self._counted[name] = total
