"""docs/settings.md is generated from the code and .env.example, and current."""

import re

import pytest

from db.settings import PREFIX, Settings, unknown_variables
from tests.fixtures.settings_page import ROOT, page, settings_of

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def test_settings_page_is_current() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == page(EXAMPLE), "run `make settings`"


def test_settings_page_explains_each_setting_once() -> None:
    named = [setting.variable for setting in settings_of(EXAMPLE)]
    assert sorted(named) == sorted(PREFIX + name.upper() for name in Settings.__struct_fields__)
    assert all(setting.meaning and setting.section for setting in settings_of(EXAMPLE))


def test_settings_page_shows_a_setting_that_is_added() -> None:
    added = "# --- More ---\n# Port again.\n#HOWDAH_PORT=1\n"
    assert page(added).endswith("| `HOWDAH_PORT` | 0 to 65535 | `8000` | Port again. |\n")


@pytest.mark.parametrize(
    "name", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_pages_name_no_unknown_setting(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    whole = [word for word in re.findall(r"HOWDAH_[A-Z_]+", text) if not word.endswith("_")]
    named = dict.fromkeys(whole, "")
    assert unknown_variables(named) == []
