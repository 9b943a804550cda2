"""The settings of docs/deployment.md are valid. Its files are tested in deploy/."""

import pytest

from db.security.keys import load_keys
from db.settings import load_settings, unknown_variables
from tests.fixtures.pages import ROOT, blocks_of
from tests.fixtures.served import new_keys

TEXT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
SETTINGS = [
    dict(line.split("=", 1) for line in block.text.splitlines())
    for block in blocks_of(TEXT)
    if block.title == "/etc/howdah.env"
]

KEYS = new_keys()


@pytest.mark.parametrize("added", SETTINGS[1:], ids=lambda added: next(iter(added)))
def test_deployment_page_settings_load(added: dict[str, str]) -> None:
    environ = SETTINGS[0] | KEYS | added
    assert unknown_variables(environ) == []
    settings = load_settings(environ)
    assert not settings.development
    load_keys(settings)
