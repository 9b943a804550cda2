"""Installs what makes the spans, and removes it again."""

import contextlib
from collections.abc import Iterator

from opentelemetry.trace import Tracer
from starlette.types import ASGIApp

from db.postgres.route import sent_statements
from db.workbench.execution import run_executor
from graph.operations import Operations
from graph.server.tracing.exporter import opened_tracer
from graph.server.tracing.operation_spans import traced_operations
from graph.server.tracing.request_spans import RequestSpans
from graph.server.tracing.run_spans import RunSpans
from graph.server.tracing.statement_spans import StatementSpans


class RecordedTraces:
    """Implements `Traces`."""

    def __init__(self, tracer: Tracer) -> None:
        self.operations: type[Operations] = traced_operations(tracer)
        self._tracer = tracer

    def requests(self, app: ASGIApp) -> ASGIApp:
        return RequestSpans(app, self._tracer)


@contextlib.contextmanager
def recording() -> Iterator[RecordedTraces]:
    """Records spans until the end of the block."""
    with opened_tracer() as tracer:
        observe, wrap = StatementSpans(tracer).add, RunSpans(tracer).around
        sent_statements.observers.append(observe)
        run_executor.wrappers.append(wrap)
        try:
            yield RecordedTraces(tracer)
        finally:
            run_executor.wrappers.remove(wrap)
            sent_statements.observers.remove(observe)
