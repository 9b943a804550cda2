"""GraphiQL in Chromium: examples, plugins, errors, and a session that the page renews."""

from pathlib import Path

from db.security.keys import load_keys
from db.settings import load_settings
from db.users import SignInLinks
from tests.browser.conftest import RunScript
from tests.fixtures.graphiql import needs_graphiql
from tests.fixtures.served import served


@needs_graphiql
async def test_graphiql_works_in_a_browser(browser_tools: RunScript, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    async with served(folder, command="demo"):
        signing_key = load_keys(load_settings(data_dir=folder)).secret.derive("access tokens")
        output = await browser_tools(
            "graphiql.mjs", SignInLinks(folder).make(), "--key", signing_key.hex()
        )
    assert "ok:" in output
