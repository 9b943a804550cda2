"""Builds an app of docs/examples, points it to a server and drives it in Chromium."""

from pathlib import Path

from db.security.keys import load_keys
from db.settings import load_settings
from tests.browser.conftest import RunScript, build_example, serve_folder
from tests.fixtures.served import Served
from tests.fixtures.targets import CANARY, Target

DEFAULT = "http://127.0.0.1:8000/graphql"
ZOO = """
CREATE SCHEMA zoo AUTHORIZATION ada;
CREATE TABLE zoo.elephants (id int PRIMARY KEY, name text);
DO $$ BEGIN
  FOR i IN 1..25 LOOP EXECUTE format('CREATE TABLE zoo.herd_%s ()', i); END LOOP;
END $$;
"""


async def drive_app(name: str, tools: RunScript, server: Served, target: Target) -> None:
    """Runs the script of the app; the script fails at the first difference."""
    built = await build_example(name)
    point_to(server, built / "index.html")
    await target.script(ZOO)
    key = load_keys(load_settings(data_dir=server.data_dir)).secret.derive("access tokens").hex()
    try:
        with serve_folder(built) as address:
            await tools(
                f"{name}.mjs",
                *("--page", address, "--howdah", server.address, "--key", key),
                *("--port", str(target.port), "--password", CANARY),
            )
    finally:
        await target.script("DROP SCHEMA zoo CASCADE")


def point_to(server: Served, page: Path) -> None:
    """A meta element of the page names the server."""
    text = page.read_text()
    assert DEFAULT in text
    page.write_text(text.replace(DEFAULT, server.address))
