"""The Helm chart passes Helm's linter, and its manifests the schemas of Kubernetes."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from db.security.keys import load_keys
from db.settings import Settings, load_settings, unknown_variables
from db.version import __version__
from tests.fixtures.ship_tools import DEPLOY, TOOLS, output_of, require_tool

CHART = DEPLOY / "helm" / "howdah"
NEEDED: dict[str, Any] = {
    "publicUrl": "https://api.example.com",
    "secret": "keys",
    "objectsUrl": "s3://bucket",
}
ALL = NEEDED | {
    "pooled": True,
    "eventsInSecret": True,
    "settings": {"HOWDAH_RUNS_AT_ONCE": "4"},
    "environmentFrom": ["s3"],
    "ingress": {"enabled": True, "tlsSecret": "tls"},
    "serviceMonitor": {"enabled": True},
    "backup": {"enabled": True, "claim": "backups"},
}
KUBERNETES = "1.30"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"secret": ""}, "secret"),
    ({"publicUrl": "api.example.com"}, "publicUrl"),
    ({"objectsUrl": ""}, "objectsUrl is required"),
    ({"settings": {"RUNS_AT_ONCE": "4"}}, "RUNS_AT_ONCE"),
    ({"replica": 3}, "replica"),
    ({"backup": {"enabled": True}}, "backup.claim is required"),
]
# Runs with the tools' Python, in which Helm is a library.
RENDER = f"""
import json, sys
import helm_python as helm
import kubernetes_validate
import yaml

def render(values):
    messages = helm.lint(sys.argv[1], values, strict=True)["messages"]
    with helm.Chart.load(sys.argv[1]) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="howdah", namespace="default").values()
    manifests = [one for text in texts for one in yaml.safe_load_all(text) if one]
    for one in manifests:
        if "monitoring.coreos.com" not in one["apiVersion"]:
            kubernetes_validate.validate(one, "{KUBERNETES}", strict=True)
    return {{"messages": messages, "manifests": manifests}}

answers = []
for values in json.loads(sys.argv[2]):
    try:
        answers.append(render(values))
    except Exception as error:
        answers.append({{"fault": f"{{type(error).__name__}}: {{error}}"}})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers() -> list[Any]:
    """For all values of this module, because each start of Helm takes a second."""
    require_tool("kubernetes-validate")
    if not list(TOOLS.parent.glob("lib/python*/site-packages/helm_python")):
        pytest.skip("there is no wheel of Helm for this machine")
    values = [ALL, *(NEEDED | changed for changed, _ in REFUSED)]
    output = output_of(TOOLS / "python", "-c", RENDER, CHART, json.dumps(values))
    *_, answer = (line for line in output.splitlines() if line.startswith("["))  # Helm logs too
    found: list[Any] = json.loads(answer)
    return found


@pytest.fixture(scope="module")
def manifests(answers: list[Any]) -> dict[str, Any]:
    """By kind, with everything switched on."""
    assert "fault" not in answers[0], answers[0]
    assert [one for one in answers[0]["messages"] if one["severity"] > 1] == []
    return {one["kind"]: one for one in answers[0]["manifests"]}


def pods(manifests: dict[str, Any]) -> list[Any]:
    job = manifests["CronJob"]["spec"]["jobTemplate"]
    return [manifests["Deployment"]["spec"]["template"]["spec"], job["spec"]["template"]["spec"]]


def test_chart_gives_pods_all_settings_of_production(
    manifests: dict[str, Any], tmp_path: Path
) -> None:
    secrets = {
        "secret_key": base64.b64encode(os.urandom(48)).decode(),
        "credential_key": f"k1:{base64.b64encode(os.urandom(32)).decode()}",
        "metrics_token": "a-long-random-text",
        "database_url": "postgresql://howdah:secret@pooler.internal:6432/howdah",
        "direct_database_url": "postgresql://howdah:secret@db.internal/howdah",
        "events_url": "redis://:secret@redis.internal:6379",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(value, encoding="utf-8")
    (container,) = pods(manifests)[0]["containers"]
    environment = {
        one["name"]: one["value"].replace("/run/secrets/howdah", str(tmp_path))
        for one in container["env"]
    } | {"HOWDAH_ENV": "production"}  # of the Dockerfile
    assert unknown_variables(environment) == []
    settings = load_settings(environment)
    load_keys(settings)
    assert settings.database_url == secrets["database_url"]
    assert settings.events_url == secrets["events_url"]
    assert settings.runs_at_once == 4


def test_chart_pods_meet_the_restricted_standard(manifests: dict[str, Any]) -> None:
    for pod in pods(manifests):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False  # or the Service sets HOWDAH_PORT
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        closed = container["securityContext"]
        assert closed["readOnlyRootFilesystem"]
        assert closed["allowPrivilegeEscalation"] is False
        assert closed["capabilities"] == {"drop": ["ALL"]}


def test_chart_replaces_pods_without_losing_requests(manifests: dict[str, Any]) -> None:
    deployment = manifests["Deployment"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    drain = Settings(env="production").drain_s
    assert pod["terminationGracePeriodSeconds"] >= Settings().stop_seconds + drain + 10


def test_chart_backs_up_with_the_script_of_this_folder(manifests: dict[str, Any]) -> None:
    script = (DEPLOY / "backup" / "howdah-backup").read_text(encoding="utf-8")
    assert manifests["ConfigMap"]["data"] == {"howdah-backup": script}


def test_chart_carries_the_present_script() -> None:
    """Also without the tools that render the chart."""
    copy = CHART / "files" / "howdah-backup"
    assert copy.read_bytes() == (DEPLOY / "backup" / "howdah-backup").read_bytes()


@pytest.mark.parametrize("case", range(len(REFUSED)), ids=[fault for _, fault in REFUSED])
def test_chart_refuses_values_that_would_not_work(answers: list[Any], case: int) -> None:
    assert REFUSED[case][1] in answers[case + 1].get("fault", "")


def test_chart_has_the_version_of_howdah() -> None:
    lines = (CHART / "Chart.yaml").read_text(encoding="utf-8").splitlines()
    assert f"version: {__version__}" in lines
    assert f'appVersion: "{__version__}"' in lines
