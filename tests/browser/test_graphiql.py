"""GraphiQL in Chromium: examples, plugins, errors, and a session that the page renews."""

from db.security.keys import load_keys
from db.settings import load_settings
from db.users import SignInLinks
from tests.browser.conftest import RunScript
from tests.fixtures.graphiql import needs_graphiql
from tests.fixtures.served import Served


@needs_graphiql
async def test_graphiql_works_in_a_browser(browser_tools: RunScript, howdah_server: Served) -> None:
    keys = load_keys(load_settings(data_dir=howdah_server.data_dir))
    output = await browser_tools(
        "graphiql.mjs",
        SignInLinks(howdah_server.data_dir).make(),
        *("--key", keys.secret.derive("access tokens").hex()),
    )
    assert "ok:" in output
