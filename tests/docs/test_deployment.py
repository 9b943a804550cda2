"""The settings and service files of docs/deployment.md are valid."""

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from db.security.keys import load_keys
from db.settings import load_settings, unknown_variables
from tests.fixtures.pages import ROOT, blocks_of

TEXT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
SETTINGS = [
    dict(line.split("=", 1) for line in block.text.splitlines())
    for block in blocks_of(TEXT)
    if block.title == "/etc/howdah.env"
]

KEYS = {
    "HOWDAH_SECRET_KEY": base64.b64encode(os.urandom(48)).decode(),
    "HOWDAH_CREDENTIAL_KEY": f"k1:{base64.b64encode(os.urandom(32)).decode()}",
}


@pytest.mark.parametrize("added", SETTINGS[1:], ids=lambda added: next(iter(added)))
def test_deployment_page_settings_load(added: dict[str, str]) -> None:
    environ = SETTINGS[0] | KEYS | added
    assert unknown_variables(environ) == []
    settings = load_settings(environ)
    assert not settings.development
    load_keys(settings)


def test_deployment_page_service_is_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (unit,) = [block for block in blocks_of(TEXT) if block.title.endswith(".service")]
    file = tmp_path / "howdah.service"
    text = unit.text.replace("/opt/howdah/bin/howdah", "/bin/true")
    file.write_text(text.replace("EnvironmentFile=/etc/howdah.env\n", ""), encoding="utf-8")
    command = ("systemd-analyze", "verify", "--recursive-errors=no", str(file))
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (found.returncode, found.stderr) == (0, "")
