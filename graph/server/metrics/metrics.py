"""`Metrics`, which imports what reports the metrics when they are first read."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from graph.server.metrics.catalogue import Sample

if TYPE_CHECKING:  # prometheus_client takes 10 ms and 1.4 MB
    from graph.server.metrics.page import MetricsPage


class Metrics:
    """The metrics of this process, or of all its workers."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def page(self) -> tuple[bytes, str]:
        """The text of the metrics, and its media type."""
        return self._reported.page()

    async def keep_publishing(self) -> None:
        """Refreshes the values that other workers report, until it is cancelled."""
        await self._reported.keep_publishing()

    @cached_property
    def _reported(self) -> "MetricsPage":
        from graph.server.metrics.page import MetricsPage

        return MetricsPage(self._samples)
