"""The alerts of docs/monitoring fire when they should, and only then. promtool evaluates them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # type: ignore[import-untyped]

from tests.fixtures.monitoring import ALERTS, FOLDER

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
OF = 'job="howdah",instance="a:1"'


class Case(NamedTuple):
    """Series in promtool's notation, a value a minute, with which an alert fires or does not."""

    firing: dict[str, str]
    quiet: dict[str, str]
    after: str = "30m"


def operations(outcome: str, each_minute: int) -> tuple[str, str]:
    labels = f'{OF},kind="query",outcome="{outcome}"'
    return f"howdah_operation_seconds_count{{{labels}}}", f"0+{each_minute}x120"


def buckets(name: str, within: str, *, fast: int, slow: int, labels: str = OF) -> dict[str, str]:
    """A histogram with values within a bound and beyond."""
    return {
        f'{name}_bucket{{{labels},le="{within}"}}': f"0+{fast}x120",
        f'{name}_bucket{{{labels},le="60"}}': f"0+{fast + slow}x120",
        f'{name}_bucket{{{labels},le="+Inf"}}': f"0+{fast + slow}x120",
        f"{name}_count{{{labels}}}": f"0+{fast + slow}x120",
    }


def series(name: str, value: str, labels: str = "") -> dict[str, str]:
    return {f"{name}{{{OF}{labels}}}": value}


OK = dict([operations("OK", 100)])
WORKERS = series("howdah_workers", "2x120")
CASES = {
    "HowdahDown": Case(series("up", "1x10 0x60"), series("up", "1x120")),
    "HowdahDatabaseDown": Case(
        series("howdah_database_up", "1x5 0x60"), series("howdah_database_up", "1x120")
    ),
    "HowdahErrors": Case(
        OK | dict([operations("UNAVAILABLE", 10)]), OK | dict([operations("NOT_FOUND", 90)])
    ),
    "HowdahTokensNotChecked": Case(
        series("howdah_requests_refused_total", "0+60x120", ',code="UNAVAILABLE"'),
        series("howdah_requests_refused_total", "0+60x120", ',code="UNAUTHENTICATED"'),
    ),
    "HowdahSlow": Case(
        buckets("howdah_operation_seconds", "0.1", fast=90, slow=10),
        buckets("howdah_operation_seconds", "0.1", fast=99, slow=1),
    ),
    "HowdahOverloaded": Case(
        series("howdah_overloaded_total", "0+60x120", ',cause="runs"'),
        series("howdah_overloaded_total", "0+1x120", ',cause="runs"'),
    ),
    "HowdahEventsDown": Case(
        series("howdah_events_up", "1x5 0x60"), series("howdah_events_up", "1x120")
    ),
    "HowdahObjectsFailing": Case(
        series("howdah_object_errors_total", "0+9x120", ',request="get",code="UNAVAILABLE"')
        | series("howdah_object_request_seconds_count", "0+60x120", ',request="get"'),
        series("howdah_object_errors_total", "0+60x120", ',request="get",code="NOT_FOUND"')
        | series("howdah_object_request_seconds_count", "0+60x120", ',request="get"'),
    ),
    "HowdahRestarting": Case(
        series("process_start_time_seconds", "1x5 2x5 3x5 4x5 5x60"),
        series("process_start_time_seconds", "1x5 2x120"),
        after="25m",
    ),
    "HowdahDatabaseBusy": Case(
        buckets("howdah_database_wait_seconds", "0.1", fast=50, slow=50),
        buckets("howdah_database_wait_seconds", "0.1", fast=100, slow=0),
    ),
    "HowdahFileDescriptors": Case(
        WORKERS | series("process_open_fds", "1800x120") | series("process_max_fds", "1024x120"),
        WORKERS | series("process_open_fds", "900x120") | series("process_max_fds", "1024x120"),
    ),
    "HowdahEventLoopBlocked": Case(
        buckets("howdah_event_loop_lag_seconds", "0.1", fast=90, slow=10),
        buckets("howdah_event_loop_lag_seconds", "0.1", fast=120, slow=0),
    ),
    "HowdahMemory": Case(
        WORKERS | series("process_resident_memory_bytes", "4000000000x120"),
        WORKERS | series("process_resident_memory_bytes", "2000000000x120"),
    ),
    "HowdahRunsQueued": Case(
        buckets("howdah_run_queue_seconds", "0.1", fast=5, slow=5),
        buckets("howdah_run_queue_seconds", "0.1", fast=100, slow=1),
        after="1h",
    ),
    "HowdahTargetConnectionsUsedUp": Case(
        series("howdah_target_connections", "100x120", ',state="idle"')
        | series("howdah_target_connections", "90x120", ',state="busy"')
        | series("howdah_target_connections_max", "200x120"),
        series("howdah_target_connections", "100x120", ',state="idle"')
        | series("howdah_target_connections_max", "200x120"),
    ),
    "HowdahReplicaDown": Case(series("up", "1x10 0x60"), series("up", "1x10 0x2 1x60")),
    "HowdahInternalErrors": Case(OK | dict([operations("INTERNAL", 1)]), OK),
    "HowdahConnectionsLost": Case(
        series("howdah_database_connections_lost_total", "0x10 20x60"),
        series("howdah_database_connections_lost_total", "0x10 2x60"),
        after="15m",
    ),
    "HowdahStandbyUnused": Case(
        series("howdah_standby_up", "1x10 0x60", ',standby="1"'),
        series("howdah_standby_up", "1x10 0x2 1x60", ',standby="1"'),
    ),
    "HowdahSlowStatements": Case(
        series("howdah_database_slow_statements_total", "0+60x120"),
        series("howdah_database_slow_statements_total", "0+1x120"),
        after="1h",
    ),
    "HowdahRunsInterrupted": Case(
        series("howdah_runs_ended_total", "0x10 20x60", ',state="INTERRUPTED"'),
        series("howdah_runs_ended_total", "0x10 20x60", ',state="FAILED"'),
        after="15m",
    ),
    "HowdahSweepStale": Case(
        series("howdah_sweep_success_timestamp_seconds", "0x200", ',sweep="runs"'),
        series("howdah_sweep_success_timestamp_seconds", "0x60 3600x140", ',sweep="runs"'),
        after="2h5m",
    ),
    "HowdahAuditStreamFailing": Case(
        series("howdah_audit_stream_failures_total", "0+1x120"),
        series("howdah_audit_stream_failures_total", "0x10 1x120"),
        after="1h",
    ),
    "HowdahVersionsDiffer": Case(
        series("howdah_build_info", "1x120", ',version="1.0"')
        | {'howdah_build_info{job="howdah",instance="b:1",version="1.1"}': "1x120"},
        series("howdah_build_info", "1x120", ',version="1.1"'),
        after="90m",
    ),
}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_have_a_severity_a_summary_and_a_runbook() -> None:
    page = (FOLDER / "alerts.md").read_text(encoding="utf-8")
    runbooks = re.findall(r"^### (Howdah\w+)$", page, re.MULTILINE)
    assert runbooks == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        name = rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        anchor = f"docs/monitoring/alerts.md#{name.lower()}"
        assert rule["annotations"]["runbook"] == anchor
        runbook = page.partition(f"### {name}\n")[2].partition("\n##")[0]
        assert f"*{rule['labels']['severity']}*" in runbook, name
        assert re.search(r"^1\. ", runbook, re.MULTILINE), f"{name}: what to do"


def test_each_alert_has_a_case() -> None:
    assert set(CASES) == {rule["alert"] for rule in alerts()}


@needs_promtool
def test_configuration_of_prometheus_is_valid() -> None:
    promtool("check", "config", "--syntax-only", str(FOLDER / "prometheus.yml"))


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    tests = [
        one_test(name, case.firing if fires else case.quiet, case.after, fires=fires)
        for name, case in CASES.items()
        for fires in (True, False)
    ]
    evaluate(tmp_path, tests)


@needs_promtool
def test_alert_that_does_not_fire_is_found(tmp_path: Path) -> None:
    case = CASES["HowdahErrors"]
    with pytest.raises(AssertionError, match="HowdahErrors"):
        evaluate(tmp_path, [one_test("HowdahErrors", case.quiet, case.after, fires=True)])


def one_test(name: str, given: dict[str, str], after: str, *, fires: bool) -> dict[str, Any]:
    query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    return {
        "name": f"{name} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in given.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": after,
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


def evaluate(folder: Path, tests: list[dict[str, Any]]) -> None:
    file = folder / "alerts.test.json"  # JSON is YAML
    rules = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(json.dumps(rules), encoding="utf-8")
    promtool("test", "rules", str(file))


def promtool(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["promtool", *arguments],  # noqa: S607 - wherever it is installed
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
