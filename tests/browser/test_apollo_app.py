import pytest

from tests.browser.conftest import REPOSITORY, RunScript
from tests.browser.example_apps import drive_app
from tests.fixtures.served import Served
from tests.fixtures.targets import Target

EXAMPLES = REPOSITORY / "docs" / "examples"


async def test_apollo_app_signs_in_lists_tasks_runs_statements_and_stores_files(
    browser_tools: RunScript, howdah_server: Served, target: Target
) -> None:
    await drive_app("apollo", browser_tools, howdah_server, target)


@pytest.mark.parametrize("name", ["session.ts", "upload.ts", "style.css"])
def test_apollo_and_relay_apps_have_equal_copies_of_files_without_graphql(name: str) -> None:
    """Each app is to be copied by itself, so it has these files; a correction is due in both."""
    apollo, relay = (EXAMPLES / app / "src" / name for app in ("apollo", "relay"))
    assert apollo.read_text() == relay.read_text()
