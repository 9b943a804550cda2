"""The units of docs/deploy/systemd are valid, and give Howdah the settings that it needs."""

import base64
import os
import re
import shlex
from pathlib import Path

import pytest

from db.security.keys import load_keys
from db.settings import Settings, load_settings, unknown_variables
from tests.fixtures.pages import blocks_of
from tests.fixtures.ship_tools import DEPLOY, output_of, require_tool

FOLDER = DEPLOY / "systemd"
UNITS = sorted(path for path in FOLDER.iterdir() if path.suffix in {".service", ".timer"})
DROP_IN = FOLDER / "direct-database-url.conf"
PROGRAM = re.compile(r"^ExecStart=(/opt/howdah/\S+)", re.MULTILINE)
SECRETS = {
    "secret_key": base64.b64encode(os.urandom(48)).decode(),
    "credential_key": f"k1:{base64.b64encode(os.urandom(32)).decode()}",
    "database_url": "postgresql://howdah:password@db.internal:5432/howdah?sslmode=verify-full",
    "metrics_token": "a-long-random-text",
    "direct_database_url": "postgresql://howdah:password@db.internal:5433/howdah",
}


def assignments(unit: Path, name: str) -> list[str]:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def environment(unit: Path, credentials: Path) -> dict[str, str]:
    """The variables that systemd gives to a service, or that a drop-in adds."""
    found: dict[str, str] = {}
    for file in assignments(unit, "EnvironmentFile"):
        lines = (FOLDER / Path(file).name).read_text(encoding="utf-8").splitlines()
        found |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for one in assignments(unit, "Environment"):
        found |= dict([one.replace("%d", str(credentials)).split("=", 1)])
    for one in assignments(unit, "LoadCredential"):
        name = one.partition(":")[0]
        (credentials / name).write_text(SECRETS[name], encoding="utf-8")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units, with a program that this machine has."""
    for unit in UNITS:
        text = PROGRAM.sub("ExecStart=/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return [tmp_path / unit.name for unit in UNITS]


def test_units_are_valid(installed: list[Path]) -> None:
    tool = require_tool("systemd-analyze")
    assert output_of(tool, "verify", "--recursive-errors=no", *installed) == ""


def test_units_expose_little_of_the_machine(installed: list[Path]) -> None:
    tool = require_tool("systemd-analyze")
    for unit in installed:
        if unit.suffix == ".service":
            limit = 20 if unit.stem == "howdah" else 40  # of 100; 92 without any of the lines
            output_of(tool, "security", "--offline=true", f"--threshold={limit}", unit)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_starts_a_program_of_the_installation(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    assert text.startswith(f"# /etc/systemd/system/{unit.name}\n")
    for program in PROGRAM.findall(text):
        inside = Path(program).relative_to("/opt/howdah")
        if inside.parts[0] == "deploy":
            script = DEPLOY / inside.relative_to("deploy")
            assert script.stat().st_mode & 0o111
            output_of("bash", "-n", script)
        else:
            assert inside == Path("bin/howdah")


def test_service_has_all_settings_of_production(tmp_path: Path) -> None:
    found = environment(FOLDER / "howdah.service", tmp_path)
    assert unknown_variables(found) == []
    settings = load_settings(found)
    assert not settings.development
    load_keys(settings)
    assert settings.database_url == SECRETS["database_url"]
    assert settings.metrics_token == SECRETS["metrics_token"]


@pytest.mark.parametrize("service", ["howdah.service", "howdah-backup.service"])
def test_services_get_the_direct_url_of_a_pooled_database(tmp_path: Path, service: str) -> None:
    """LISTEN, migrations and backups do not work through a pooler in transaction mode."""
    found = environment(FOLDER / service, tmp_path)
    assert load_settings(found).direct_database_url is None
    found |= environment(DROP_IN, tmp_path)
    assert load_settings(found).direct_database_url == SECRETS["direct_database_url"]
    assert f"/etc/systemd/system/{service}.d" in DROP_IN.read_text(encoding="utf-8")
    page = (DEPLOY.parent / "deployment.md").read_text(encoding="utf-8")
    (block,) = [one for one in blocks_of(page) if DROP_IN.name in one.text]
    assert service.removesuffix(".service") in block.text
    assert "/etc/howdah/direct_database_url" in block.text


def test_page_gives_commands_the_settings_of_the_service() -> None:
    unit = FOLDER / "howdah.service"
    page = (DEPLOY.parent / "deployment.md").read_text(encoding="utf-8")
    (block,) = [one for one in blocks_of(page) if ". /etc/howdah/howdah.env\n" in one.text]
    files = dict(one.split(":") for one in assignments(unit, "LoadCredential"))
    for one in assignments(unit, "Environment"):
        setting, _, value = one.partition("=")
        file = files.get(value.removeprefix("%d/"), value)
        assert f"{setting}={file}" in block.text.splitlines()


def test_service_waits_longer_than_howdah_takes_to_stop() -> None:
    (seconds,) = assignments(FOLDER / "howdah.service", "TimeoutStopSec")
    drain = Settings(env="production").drain_s
    assert int(seconds) >= Settings().stop_seconds + drain + 10


def test_backup_and_drill_share_the_folder_of_the_server(tmp_path: Path) -> None:
    backup = environment(FOLDER / "howdah-backup.service", tmp_path)
    drill = environment(FOLDER / "howdah-restore-drill.service", tmp_path)
    assert backup["HOWDAH_BACKUP_DIR"] == drill["HOWDAH_BACKUP_DIR"]
    for unit in FOLDER.glob("*.service"):
        assert assignments(unit, "User") == ["howdah"]
        assert "howdah" in shlex.split(assignments(unit, "StateDirectory")[0])
