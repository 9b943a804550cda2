"""The tracer of this process, and where its spans go."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points

from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    Resource,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from db.errors import BadInput
from db.version import __version__

log = logging.getLogger(__name__)

FLUSH_S = 3.0
"""The last spans are sent at the end of the process; a collector that hangs holds it no longer."""

_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""The names of the packages' exporters, by OTEL_EXPORTER_OTLP_PROTOCOL."""


@contextlib.contextmanager
def opened_tracer() -> Iterator[Tracer]:
    """A tracer that samples and exports as the variables OTEL_* say."""
    exporter = OutageReports(_open_exporter())
    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider.get_tracer("howdah", __version__)
    finally:
        flushing = threading.Thread(target=provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_S)
        if flushing.is_alive():
            exporter.shutdown()


class OutageReports(SpanExporter):
    """Passes spans on, and logs one line for each outage of the collector instead of one a second.

    The exporter logs the cause of each attempt that fails; the first one is let through.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_down = False
        logging.getLogger(type(exporter).__module__).addFilter(self._is_first)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS and self._is_down:
            self._is_down = False
            log.info("the collector takes traces again; those of the outage are lost")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
        logging.getLogger(type(self._exporter).__module__).removeFilter(self._is_first)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _is_first(self, _: logging.LogRecord) -> bool:
        was_down, self._is_down = self._is_down, True
        return not was_down


def _open_exporter() -> SpanExporter:
    """Raises BadInput if the exporter is not installed."""
    name = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if name == "otlp":
        protocol = (
            os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "http/protobuf"
        )
        name = _OTLP.get(protocol.strip(), protocol.strip())
    for found in entry_points(group="opentelemetry_traces_exporter", name=name):
        exporter: SpanExporter = found.load()()
        return exporter
    raise BadInput(
        f"There is no exporter of traces with the name {name}.",
        hint="Set OTEL_TRACES_EXPORTER to otlp, console or none, or install the package of the "
        "exporter. For OTEL_EXPORTER_OTLP_PROTOCOL=grpc: "
        "pip install opentelemetry-exporter-otlp-proto-grpc.",
    )


def _resource() -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our attributes."""
    instance = f"{socket.gethostname()}:{os.getpid()}"
    ours = Resource({SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: instance})
    created = ours.merge(Resource.create())
    if str(created.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return created.merge(Resource({SERVICE_NAME: "howdah"}))
    return created
