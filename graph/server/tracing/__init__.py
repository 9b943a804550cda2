"""Traces by OpenTelemetry, configured by the usual variables OTEL_* (decision 0062).

Nothing of OpenTelemetry is imported, and nothing of the server wrapped, unless they ask for traces.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Protocol

from starlette.types import ASGIApp

from graph.operations import Operations

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Traces(Protocol):
    """What a server is built with while traces are on."""

    operations: type[Operations]
    """Makes a span of each operation."""

    def requests(self, app: ASGIApp) -> ASGIApp:
        """Makes a span of each HTTP request."""


@contextlib.contextmanager
def tracing(environ: Mapping[str, str] = os.environ) -> Iterator[Traces | None]:
    """Traces until the end of the block, or None if the environment asks for none.

    Enter it before the first connection is opened, in each process that serves requests.

    Raises:
        BadInput: the exporter that the environment names is not installed.
    """
    if not is_requested(environ):
        yield None
        return
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        log.warning(
            "OTEL_* variables ask for traces, but OpenTelemetry is not installed, so there are "
            "none. Install it: pip install 'howdah[otel]'."
        )
        yield None
        return
    from graph.server.tracing.recording import recording

    with recording() as traces:
        yield traces


def is_requested(environ: Mapping[str, str]) -> bool:
    """Whether an exporter is named, or an endpoint for the usual one."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter:
        return exporter != "none"
    return any(environ.get(name) for name in _ENDPOINTS)
