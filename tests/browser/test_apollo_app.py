from tests.browser.conftest import RunScript
from tests.browser.example_apps import drive_app
from tests.fixtures.served import Served
from tests.fixtures.targets import Target


async def test_apollo_app_signs_in_lists_tasks_runs_statements_and_stores_files(
    browser_tools: RunScript, howdah_server: Served, target: Target
) -> None:
    await drive_app("apollo", browser_tools, howdah_server, target)
