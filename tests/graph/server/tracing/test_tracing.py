"""When traces are on, what they need, and what of them ends with them."""

import logging
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from db.errors import BadInput
from db.postgres.route import sent_statements
from db.workbench.execution import run_executor
from graph.server import tracing
from graph.server.tracing import exporter, is_requested
from graph.server.tracing.recording import recording
from tests.fixtures.otlp import OtlpCollector

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "howdah"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_on_if_an_exporter_is_configured(
    environ: dict[str, str], *, expected: bool
) -> None:
    assert is_requested(environ) is expected


def test_traces_wrap_nothing_without_an_exporter() -> None:
    with tracing.tracing({}) as traces:
        assert traces is None
        assert sent_statements.observers == []
        assert run_executor.wrappers == []
        assert sent_statements.connection_class().__module__ == "asyncpg.connection"


def test_traces_leave_nothing_behind(exporting: OtlpCollector) -> None:
    with tracing.tracing() as traces:
        assert traces is not None
        assert sent_statements.observers
        assert run_executor.wrappers
    assert sent_statements.observers == []
    assert run_executor.wrappers == []


def test_traces_are_of_the_service_howdah_unless_the_environment_names_it(
    exporting: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=one,team=trunk")
    with recording() as traces:
        traces._tracer.start_span("only").end()
    resource = exporting.one("only").resource
    assert resource["service.name"] == "howdah"
    assert (resource["service.instance.id"], resource["team"]) == ("one", "trunk")


def test_traces_without_the_extra_are_off_and_say_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    with caplog.at_level(logging.WARNING), tracing.tracing(ENDPOINT) as traces:
        assert traces is None
    assert "pip install 'howdah[otel]'" in caplog.text


def test_traces_refuse_an_exporter_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(BadInput, match="no exporter of traces with the name pigeon"), recording():
        pass


def test_traces_end_although_the_collector_hangs(
    exporting: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "FLUSH_S", 0.01)
    exporting.answers.clear()
    with recording() as traces:
        traces._tracer.start_span("last").end()
    assert exporting.spans == []


class Flaky(SpanExporter):
    """Logs a failed attempt, as OTLP's exporter does, while it is down."""

    def __init__(self) -> None:
        self.is_down = True

    def export(self, _: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.is_down:
            logging.getLogger(__name__).warning("connection refused")
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Has nothing to end."""


def test_outage_of_the_collector_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    flaky = Flaky()
    reports = exporter.OutageReports(flaky)
    with caplog.at_level(logging.INFO):
        for is_down in (True, True, True, False, False, True, True):
            flaky.is_down = is_down
            reports.export([])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    reports.shutdown()
    caplog.clear()
    flaky.export([])
    assert caplog.text.count("connection refused") == 1
