"""docs/deploy/compose is what Compose, Caddy, hadolint and Howdah accept."""

import difflib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from db.security.keys import load_keys
from db.settings import load_settings, unknown_variables
from tests.fixtures.ship_tools import DEPLOY, output_of, require_tool

COMPOSE = DEPLOY / "compose"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy with secrets of its own."""
    copy = tmp_path / "compose"
    shutil.copytree(COMPOSE, copy, ignore=shutil.ignore_patterns("secrets"))
    output_of(copy / "make-secrets")
    assert "nothing was changed" in output_of(copy / "make-secrets")
    return copy


@pytest.fixture
def project(folder: Path) -> Any:
    """What Compose makes of the file."""
    tool = require_tool("docker-compose")
    file = folder / "compose.yaml"
    command = (tool, "-f", file, "--profile", "*", "config", "--format", "json")
    return json.loads(output_of(*command))


def test_compose_gives_the_replicas_all_settings_of_production(folder: Path, project: Any) -> None:
    for name in ("howdah1", "howdah2", "backup"):
        given = project["services"][name]["environment"]
        environment = {
            key: value.replace("/run/secrets", str(folder / "secrets"))
            for key, value in given.items()
        } | {"HOWDAH_ENV": "production"}  # of the Dockerfile
        environment.pop("HOWDAH_BACKUP_DIR", None)  # of the script
        assert unknown_variables(environment) == []
        settings = load_settings(environment)
        load_keys(settings)
        assert settings.public_url == "https://localhost"
        caddy = project["services"]["caddy"]["networks"]["edge"]["ipv4_address"]
        assert settings.trusted_proxies == caddy
        assert environment["AWS_SECRET_ACCESS_KEY"]


def test_compose_keeps_backups_in_a_volume(project: Any) -> None:
    backup = project["services"]["backup"]
    volumes = [one["target"] for one in backup["volumes"] if one["type"] == "volume"]
    assert any(
        Path(backup["environment"]["HOWDAH_BACKUP_DIR"]).is_relative_to(place) for place in volumes
    )


def test_compose_closes_what_it_can(project: Any) -> None:
    services = project["services"]
    for name in ("howdah1", "howdah2", "pgbouncer"):
        assert services[name]["read_only"], name
        assert services[name]["cap_drop"] == ["ALL"], name
    assert [name for name, one in services.items() if one.get("ports")] == ["caddy"]
    assert project["networks"]["data"]["internal"]
    for name in ("postgres", "redis", "s3", "pgbouncer"):
        assert list(services[name]["networks"]) == ["data"], name


def test_compose_secrets_are_closed_on_the_host_and_not_committed(folder: Path) -> None:
    secrets = folder / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o004 for path in secrets.iterdir())  # for the containers
    assert "secrets/" in (COMPOSE / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_compose_has_a_valid_caddyfile_and_dockerfile() -> None:
    caddy = (require_tool("caddy"), "validate", "--adapter", "caddyfile", "--config")
    assert "Valid configuration" in output_of(*caddy, COMPOSE / "Caddyfile")
    assert output_of(require_tool("hadolint"), COMPOSE / "pgbouncer.Dockerfile") == ""


def test_compose_pools_as_the_file_of_pgbouncer_does() -> None:
    """The two differ in addresses and files only."""
    theirs, ours = (
        [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] != ";"]
        for path in (DEPLOY / "pgbouncer" / "pgbouncer.ini", COMPOSE / "pgbouncer.ini")
    )
    differences = [line for line in difflib.ndiff(theirs, ours) if line[0] in "-+"]
    changed = {line[2:].split(" =")[0] for line in differences}
    addresses = {"howdah", "listen_addr", "auth_file"}
    assert changed == addresses | {"server_tls_sslmode", "server_tls_ca_file"}
