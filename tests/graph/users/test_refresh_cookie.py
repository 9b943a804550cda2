"""The refresh token of a browser in a cookie, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.applications import Starlette

from db.settings import Settings
from tests.fixtures.clients import Client
from tests.fixtures.identity import PASSWORD
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import serving

LISTED = "https://app.example.com"
NEW = {"email": "eve@example.com", "password": PASSWORD, "name": "Eve"}
SIGN_UP = """mutation ($input: SignUpInput!) { signUp(input: $input) {
  session { accessToken refreshToken } } }"""
SIGN_IN = """mutation ($input: SignInInput!) { signIn(input: $input) {
  session { accessToken refreshToken } } }"""
REFRESH = """mutation ($input: RefreshSessionInput!) { refreshSession(input: $input) {
  session { accessToken refreshToken } } }"""
SIGN_OUT = "mutation { signOut(input: {}) { signedOut } }"
CHANGE = """mutation ($input: ChangePasswordInput!) { changePassword(input: $input) {
  session { refreshToken } } }"""


class Page(NamedTuple):
    """A page in a browser, which stores and sends cookies."""

    http: httpx.AsyncClient
    url: str

    async def post(self, document: str, token: str = "", **input: Any) -> httpx.Response:
        bearer = {"authorization": f"Bearer {token}"} if token else {}
        body = {"query": document, "variables": {"input": input}}
        return await self.http.post(self.url, json=body, headers=bearer)

    async def ask(self, document: str, token: str = "", **input: Any) -> Any:
        body = (await self.post(document, token, **input)).json()
        assert "errors" not in body, body
        (payload,) = body["data"].values()
        return payload

    async def refused(self, document: str, **input: Any) -> str:
        response = await self.post(document, **input)
        assert "set-cookie" not in response.headers
        return str(response.json()["errors"][0]["extensions"]["code"])

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.http.cookies)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(
        env="development",
        data_dir=settings.data_dir,
        sign_up="open",
        allowed_origins=LISTED,
    )


@pytest.fixture
async def page(app: Starlette) -> AsyncIterator[Page]:
    """A page of the server's own origin, signed up with the cookie."""
    async with serving(app) as server, httpx.AsyncClient(timeout=PATIENCE_S) as http:
        http.headers["origin"] = f"http://{server.address}"
        opened = Page(http, f"http://{server.address}/graphql")
        payload = await opened.ask(SIGN_UP, **NEW, cookie=True)
        assert payload["session"]["refreshToken"] is None
        yield opened


async def test_cookie_is_hidden_from_scripts_and_other_sites(page: Page) -> None:
    response = await page.post(REFRESH)
    name, *attributes = response.headers["set-cookie"].split("; ")
    assert name.startswith("howdah-refresh=")
    assert set(attributes) == {
        *("HttpOnly", "SameSite=Strict", "Path=/graphql"),
        f"Max-Age={30 * 86_400}",
    }
    assert name.partition("=")[2] not in response.text


async def test_cookie_of_tls_page_is_bound_to_host(page: Page) -> None:
    page.http.headers["origin"] = LISTED
    response = await page.post(SIGN_IN, email=NEW["email"], password=PASSWORD, cookie=True)
    name, *attributes = response.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-howdah-refresh=")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=Strict"} < set(attributes)
    sent = {"cookie": f"howdah-refresh=tossed; {name}"}
    refreshed = await page.http.post(
        page.url, json={"query": REFRESH, "variables": {"input": {}}}, headers=sent
    )
    assert refreshed.json()["data"]["refreshSession"]["session"]["accessToken"]


async def test_refresh_renews_cookie_and_sign_out_deletes_it(page: Page) -> None:
    before = page.cookies
    refreshed = await page.ask(REFRESH)
    assert refreshed["session"]["refreshToken"] is None
    assert page.cookies.keys() == before.keys()
    assert page.cookies != before
    kept = page.cookies
    token = refreshed["session"]["accessToken"]
    assert await page.ask(SIGN_OUT, token) == {"signedOut": True}
    assert page.cookies.keys() == {"howdah-device"}
    assert await page.refused(REFRESH) == "BAD_USER_INPUT"
    page.http.cookies.update(kept)
    assert await page.refused(REFRESH) == "UNAUTHENTICATED"


async def test_change_password_renews_cookie(page: Page) -> None:
    before = page.cookies
    token = (await page.ask(REFRESH))["session"]["accessToken"]
    changed = {"currentPassword": PASSWORD, "newPassword": "another horse", "cookie": True}
    assert (await page.ask(CHANGE, token, **changed))["session"]["refreshToken"] is None
    assert page.cookies != before
    await page.ask(REFRESH)


async def test_two_tabs_refreshing_at_once_get_the_same_successor(page: Page) -> None:
    answers = await asyncio.gather(*(page.post(REFRESH) for _ in range(8)))
    assert [answer.json().get("errors") for answer in answers] == [None] * 8
    assert len({answer.headers["set-cookie"] for answer in answers}) == 1
    await page.ask(REFRESH)


async def test_refresh_token_of_input_is_answered_in_the_body_and_leaves_cookie(page: Page) -> None:
    before = page.cookies
    signed_in = await page.ask(SIGN_IN, email=NEW["email"], password=PASSWORD)
    token = signed_in["session"]["refreshToken"]
    assert (await page.ask(REFRESH, refreshToken=token))["session"]["refreshToken"]
    assert page.cookies == before


async def test_empty_refresh_token_does_not_reveal_cookie(page: Page) -> None:
    assert await page.refused(REFRESH, refreshToken="") == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": ""},
        {"origin": "null"},
        {"origin": "https://evil.example.com"},
        {"origin": "http://localhost:5173"},
        {"origin": "http://sibling.example.com", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": LISTED, "sec-fetch-site": "cross-site"},
    ],
)
async def test_foreign_page_cannot_use_cookie(page: Page, headers: dict[str, str]) -> None:
    before = page.cookies
    own = dict(page.http.headers)
    page.http.headers.update(headers)
    if not page.http.headers["origin"]:
        del page.http.headers["origin"]
    assert await page.refused(REFRESH) == "FORBIDDEN"
    signing_in = {"email": NEW["email"], "password": PASSWORD, "cookie": True}
    assert await page.refused(SIGN_IN, **signing_in) == "FORBIDDEN"
    page.http.headers = httpx.Headers(own)
    assert page.cookies == before
    await page.ask(REFRESH)  # the token was not used


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", '{"query": "mutation { refreshSession(input: {}) { user { id } } }"}'),
        ("application/x-www-form-urlencoded", "query=mutation{refreshSession(input:{}){user{id}}}"),
        ("multipart/form-data; boundary=x", "--x--"),
        ("", '{"query": "mutation { refreshSession(input: {}) { user { id } } }"}'),
    ],
)
async def test_form_cannot_use_cookie(page: Page, content_type: str, body: str) -> None:
    response = await page.http.post(page.url, content=body, headers={"content-type": content_type})
    assert response.status_code == 415
    assert "set-cookie" not in response.headers


async def test_get_cannot_use_cookie(page: Page) -> None:
    document = "mutation { refreshSession(input: {}) { user { id } } }"
    response = await page.http.get(page.url, params={"query": document})
    assert response.status_code == 405
    assert "set-cookie" not in response.headers


async def test_credentials_are_allowed_to_listed_origins_only(page: Page) -> None:
    preflight = {"access-control-request-method": "POST"}
    for origin, expected in ((LISTED, "true"), ("http://localhost:5173", None)):
        sent = {"origin": origin}
        for response in (
            await page.http.options(page.url, headers=sent | preflight),
            await page.http.post(page.url, json={"query": "{ viewer { id } }"}, headers=sent),
        ):
            assert response.headers["access-control-allow-origin"] == origin
            assert response.headers.get("access-control-allow-credentials") == expected


async def test_cookie_over_websocket_is_refused(anonymous: Client) -> None:
    answer = await anonymous.first("mutation { refreshSession(input: {}) { user { id } } }")
    assert answer.code == "BAD_USER_INPUT"
    assert "HTTP" in answer.message


async def test_device_cookie_admits_its_browser_to_a_locked_account(page: Page) -> None:
    wrong = {"email": NEW["email"], "password": "wrong password"}
    codes = [(await page.post(SIGN_IN, **wrong)).json()["errors"][0] for _ in range(11)]
    assert codes[-1]["extensions"]["code"] == "RATE_LIMITED"
    right = wrong | {"password": PASSWORD}
    assert (await page.post(SIGN_IN, **right)).json()["errors"]
    device = page.cookies["howdah-device"]
    signed_in = await page.ask(
        SIGN_IN.replace("refreshToken", "refreshToken deviceToken"), cookie=True, **right
    )
    assert signed_in["session"]["deviceToken"] is None
    assert page.cookies["howdah-device"] == device
