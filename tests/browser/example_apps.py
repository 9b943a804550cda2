"""Builds an app of docs/examples, points it to a server and drives it in Chromium."""

from pathlib import Path

from tests.browser.conftest import RunScript, build_example, serve_folder
from tests.fixtures.served import Served
from tests.fixtures.targets import CANARY, Target

DEFAULT = "http://127.0.0.1:8000/graphql"
SHOP = """
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop AUTHORIZATION ada;
CREATE TABLE shop.elephants (id int PRIMARY KEY, name text);
DO $$ BEGIN
  FOR i IN 1..25 LOOP EXECUTE format('CREATE TABLE shop.herd_%s ()', i); END LOOP;
END $$;
"""


async def drive_app(name: str, tools: RunScript, server: Served, target: Target) -> None:
    """Runs the script of the app; the script fails at the first difference."""
    built = await build_example(name)
    point_to(server, built / "index.html")
    await target.script(SHOP)
    with serve_folder(built) as address:
        await tools(
            f"{name}.mjs",
            *("--page", address, "--howdah", server.address),
            *("--port", str(target.port), "--password", CANARY),
        )


def point_to(server: Served, page: Path) -> None:
    """A meta element of the page names the server."""
    text = page.read_text()
    assert DEFAULT in text
    page.write_text(text.replace(DEFAULT, server.address))
