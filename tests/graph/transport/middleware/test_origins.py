import json
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets import InvalidStatus, Origin

from tests.fixtures.toy import Door, calling, serving, toy_app
from tests.graph.transport.test_websocket import opened

LISTED = "https://app.example.com"
EVIL = "https://evil.example.com"
PREFLIGHT = {"access-control-request-method": "POST"}
QUERY = {"query": "{ hello }"}


@pytest.fixture
async def production() -> AsyncIterator[httpx.AsyncClient]:
    app = toy_app(Door(), env="production", allowed_origins=LISTED)
    async with calling(app) as client:
        yield client


def assert_refused(response: httpx.Response, origin: str) -> None:
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    (error,) = response.json()["errors"]
    assert origin in error["message"]
    assert "HOWDAH_ALLOWED_ORIGINS" in error["extensions"]["hint"]
    assert error["extensions"]["requestId"]


async def test_listed_origin_is_allowed(production: httpx.AsyncClient) -> None:
    allowed = await production.options("/graphql", headers=PREFLIGHT | {"origin": LISTED})
    assert allowed.status_code == 200
    response = await production.post("/graphql", json=QUERY, headers={"origin": LISTED})
    assert response.json() == {"data": {"hello": "Hello, you!"}}
    assert response.headers["access-control-allow-origin"] == LISTED
    exposed = response.headers["access-control-expose-headers"]
    assert {"Content-Disposition", "Accept-Ranges", "Content-Range"} <= set(exposed.split(", "))


@pytest.mark.parametrize("path", ["/graphql", "/files/x"])
@pytest.mark.parametrize("origin", [EVIL, "http://localhost:5173", "null"])
async def test_other_origin_is_refused(
    production: httpx.AsyncClient, path: str, origin: str
) -> None:
    assert_refused(await production.options(path, headers=PREFLIGHT | {"origin": origin}), origin)
    response = await production.get(path, params=QUERY, headers={"origin": origin})
    assert_refused(response, origin)


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "https://{host}"}, {"origin": EVIL, "sec-fetch-site": "same-origin"}],
)
async def test_own_page_needs_no_listing(
    production: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    host = production.base_url.netloc.decode()
    sent = {name: value.format(host=host) for name, value in headers.items()}
    response = await production.post("/graphql", json=QUERY, headers=sent)
    assert response.json() == {"data": {"hello": "Hello, you!"}}
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1:3000", True),
        ("https://[::1]:8443", True),
        ("http://localhost", True),
        ("http://localhost.evil.example.com", False),
        ("http://127.0.0.1.evil.example.com:80", False),
        ("http://evil.example.com:5173", False),
        ("null", False),
    ],
)
async def test_development_allows_origins_of_this_machine(
    toy_client: httpx.AsyncClient,
    origin: str,
    allowed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    response = await toy_client.options("/graphql", headers=PREFLIGHT | {"origin": origin})
    if allowed:
        assert response.headers["access-control-allow-origin"] == origin
    else:
        assert_refused(response, origin)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("evil.example.com:8000", False),
        ("127.0.0.1.evil.example.com", False),
        ("localhost.evil.example.com:8000", False),
        ("127.0.0.1:8000", True),
        ("192.168.1.5:8000", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("howdah.localhost", True),
        ("devbox:8000", True),
        ("devbox.local:8000", True),
        ("howdah.example.com", True),
        (LISTED.removeprefix("https://"), True),
    ],
)
@pytest.mark.parametrize("site", [{}, {"sec-fetch-site": "same-origin"}], ids=str)
async def test_development_is_its_own_origin_under_names_that_no_stranger_can_register(
    host: str,
    site: dict[str, str],
    allowed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """DNS rebinding: the page of a stranger, whose name leads here by now."""
    app = toy_app(Door(), allowed_origins=LISTED, public_url="https://howdah.example.com")
    async with calling(app) as client:
        for path in ("/graphql", "/files/x"):
            headers = {"host": host, "origin": f"https://{host}"} | site
            response = await client.post(path, json=QUERY, headers=headers)
            assert (response.status_code != 403) is allowed, path


async def test_refused_socket_names_the_setting() -> None:
    async with serving(toy_app(Door())) as server:
        with pytest.raises(InvalidStatus) as caught:
            await opened(server, origin=Origin(EVIL)).__aenter__()
    response = caught.value.response
    assert response.status_code == 403
    (error,) = json.loads(response.body or b"")["errors"]
    assert "HOWDAH_ALLOWED_ORIGINS" in error["extensions"]["hint"]


async def test_root_leads_browser_to_graphiql(toy_client: httpx.AsyncClient) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = await toy_client.get("/", headers=browser)
    assert (page.status_code, page.headers["location"]) == (307, "graphql")
    tool = await toy_client.get("/")
    assert tool.status_code == 404
    assert "/graphql" in tool.json()["errors"][0]["extensions"]["hint"]
