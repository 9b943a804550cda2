"""Metrics of the server in the Prometheus text format. They contain no data of users.

Workers use the multiprocess mode of prometheus_client: each writes files in a folder of the
parent, and any of them reports the metrics of all (docs/decisions/0014-metrics-of-workers.md).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from db.concurrency.retry_log import RetryLog
from graph.server.metrics.catalogue import Metric, Sample
from graph.server.metrics.instruments import Instruments
from graph.server.metrics.workers import registry_of_all

log = logging.getLogger(__name__)

PUBLISH_INTERVAL_S = 1.0
PAGE_PAUSE = 9.0
"""Time for which a page is kept, as a multiple of the time to make it."""

_REPORTED_AS_MINIMUM = {"process_start_time_seconds", "process_max_fds"}

disable_created_metrics()


class MetricsPage:
    """Reads the values of this process before they are reported."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples
        self._registry = CollectorRegistry()
        self._instruments = Instruments(self._registry)
        self._process = ProcessCollector(registry=None)
        self._page: tuple[bytes, str] | None = None
        self._page_until = 0.0

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
        return generate_latest(registry_of_all(self._registry))

    async def keep_publishing(self) -> NoReturn:
        """Refresh the values that other workers report."""
        retry_log = RetryLog(log, "publish the metrics of a worker")
        while True:
            with retry_log.attempt():
                self._refresh()
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    def _refresh(self) -> None:
        self._instruments.record(self._samples())
        self._instruments.record(self._of_process())

    def _of_process(self) -> Iterator[Sample]:
        for family in self._process.collect():  # empty without /proc
            metric = Metric(
                family.name,
                "counter" if family.type == "counter" else "gauge",
                family.documentation,
                workers="livemin" if family.name in _REPORTED_AS_MINIMUM else "livesum",
            )
            yield metric, (), family.samples[0].value
