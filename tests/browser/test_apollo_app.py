from pathlib import Path

from tests.browser.conftest import RunScript, build_example, serve_folder
from tests.fixtures.served import Served
from tests.fixtures.targets import CANARY, Target

SHOP = """
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop AUTHORIZATION ada;
CREATE TABLE shop.elephants (id int PRIMARY KEY, name text);
ALTER TABLE shop.elephants OWNER TO ada;
"""


def point_to(server: Served, page: Path) -> None:
    """The built page names the address of a default server in a meta element."""
    default = "http://127.0.0.1:8000/graphql"
    text = page.read_text()
    assert default in text
    page.write_text(text.replace(default, server.address))


async def test_apollo_app_signs_in_lists_tasks_runs_statements_and_stores_files(
    browser_tools: RunScript, howdah_server: Served, target: Target
) -> None:
    page = await build_example("apollo")
    point_to(howdah_server, page / "index.html")
    await target.script(SHOP)
    with serve_folder(page) as address:
        output = await browser_tools(
            "apollo.mjs",
            *("--page", address, "--howdah", howdah_server.address),
            *("--port", str(target.port), "--password", CANARY),
        )
    assert "ok" in output
