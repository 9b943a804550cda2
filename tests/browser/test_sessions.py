"""Reset links and the refresh cookie in a real browser."""

from pathlib import Path

from tests.browser.conftest import RunScript, serve_folder
from tests.fixtures.identity import PASSWORD
from tests.fixtures.served import Served

SIGN_UP = """mutation ($input: SignUpInput!) { signUp(input: $input) { user { id } } }"""
CREATE_RESET = """mutation ($input: CreatePasswordResetInput!) {
  createPasswordReset(input: $input) { url } }"""


async def test_browser_resets_password_and_keeps_refresh_token_in_cookie(
    browser_tools: RunScript, howdah_server: Served, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>Another origin</title>")
    email = "eve@example.com"
    new = {"email": email, "password": PASSWORD, "name": "Eve"}
    user = (await howdah_server.ask(SIGN_UP, input=new))["signUp"]["user"]["id"]
    reset = await howdah_server.ask(CREATE_RESET, input={"userId": user})
    with serve_folder(tmp_path) as foreign:
        await browser_tools("sessions.mjs", reset["createPasswordReset"]["url"], foreign, email)
