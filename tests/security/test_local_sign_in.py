"""Only the code of a sign-in link gives a token, and only to a caller on the server's machine."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from asgi_lifespan import LifespanManager

from db.services import Services
from db.settings import Settings
from db.users import LOCAL_ADMIN, SignInLinks
from graph.app import build_app
from graph.auth import authenticate
from graph.schema import schema

ADDRESS = "http://127.0.0.1:8000/graphql"
LOOPBACK = "127.0.0.1"
FORWARDED = [
    {"forwarded": "for=192.0.2.1"},
    {"x-forwarded-for": "127.0.0.1"},
    {"x-forwarded-host": "howdah.example.com"},
    {"x-forwarded-proto": "https"},
    {"x-forwarded-something-new": ""},
    {"x-real-ip": "127.0.0.1"},
    {"via": "1.1 proxy"},
]


@pytest.fixture
def links(settings: Settings) -> Iterator[SignInLinks]:
    links = SignInLinks(settings.data_dir)
    with links.serving(ADDRESS):
        yield links


@contextlib.asynccontextmanager
async def calling(
    services: Services, *, peer: str = LOOPBACK, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with this TCP peer, of a server with these settings."""
    chosen = msgspec.structs.replace(services.settings, **settings)
    given = dataclasses.replace(services, settings=chosen)

    @contextlib.asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[Services]:
        yield given

    app = build_app(chosen, schema=schema, authenticate=authenticate, open_services=opened)
    async with LifespanManager(app) as running:
        transport = httpx.ASGITransport(running.app, client=(peer, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            yield http


@pytest.fixture
async def local(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(services) as http:
        yield http


async def exchange(http: httpx.AsyncClient, link: str, **headers: str) -> httpx.Response:
    code = link.partition("#sign-in=")[2]
    return await http.post("/graphql/sign-in", json={"code": code}, headers=headers)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    (error,) = answer.json()["errors"]
    assert error["message"]
    assert error["extensions"]["hint"]
    assert "accessToken" not in answer.text
    return answer.status_code, error["extensions"]["code"]


async def test_page_contains_no_token(local: httpx.AsyncClient) -> None:
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "howdah.example.com"):
        page = await local.get("/graphql", headers={"accept": "text/html", "host": host})
        assert page.headers["content-type"].startswith("text/html")
        assert "Bearer" not in page.text
        assert "eyJ" not in page.text


async def test_link_signs_in_the_local_admin_once(
    local: httpx.AsyncClient, links: SignInLinks
) -> None:
    link = links.make()
    assert link.startswith(f"{ADDRESS}#sign-in=")
    first = await exchange(local, link, origin="http://127.0.0.1:8000")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-store"
    headers = {"authorization": f"Bearer {first.json()['accessToken']}"}
    viewer = await local.post(
        "/graphql", json={"query": "{ viewer { email role } }"}, headers=headers
    )
    assert viewer.json()["data"] == {"viewer": {"email": LOCAL_ADMIN, "role": "ADMIN"}}
    assert error_of(await exchange(local, link)) == (403, "FORBIDDEN")


async def test_link_signs_in_one_of_many_at_once(
    local: httpx.AsyncClient, links: SignInLinks
) -> None:
    link = links.make()
    answers = await asyncio.gather(*(exchange(local, link) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [403]


@pytest.mark.parametrize("code", ["", "guess", "A" * 43, "../address", "é", "address"])
async def test_sign_in_is_refused_without_the_code(
    local: httpx.AsyncClient, links: SignInLinks, code: str
) -> None:
    link = links.make()
    answer = await local.post("/graphql/sign-in", json={"code": code})
    assert error_of(answer) in {(403, "FORBIDDEN"), (400, "BAD_USER_INPUT")}
    assert (await exchange(local, link)).status_code == 200


@pytest.mark.parametrize("headers", FORWARDED, ids=str)
async def test_sign_in_is_refused_through_a_proxy(
    local: httpx.AsyncClient, links: SignInLinks, headers: dict[str, str]
) -> None:
    link = links.make()
    assert error_of(await exchange(local, link, **headers)) == (403, "FORBIDDEN")
    assert (await exchange(local, link)).status_code == 200  # the refusal did not use it up


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.1", "2001:db8::1", ""])
async def test_sign_in_is_refused_to_another_machine(
    services: Services, links: SignInLinks, peer: str
) -> None:
    async with calling(services, peer=peer) as remote:
        assert error_of(await exchange(remote, links.make())) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "host",
    [
        "howdah.example.com",
        "howdah.example.com:8000",
        "localhost.example.com",
        "127.0.0.1@example.com",
        "192.168.1.5",
        "[",
        "",
    ],
)
async def test_sign_in_is_refused_under_a_foreign_host(
    local: httpx.AsyncClient, links: SignInLinks, host: str
) -> None:
    assert error_of(await exchange(local, links.make(), host=host)) == (403, "FORBIDDEN")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
async def test_sign_in_takes_every_name_of_this_machine(
    local: httpx.AsyncClient, links: SignInLinks, host: str
) -> None:
    assert (await exchange(local, links.make(), host=host)).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "http://127.0.0.1:8001", "https://127.0.0.1:8000", "null", ""],
)
async def test_sign_in_is_refused_to_a_foreign_page(
    services: Services, links: SignInLinks, origin: str
) -> None:
    async with calling(services, allowed_origins="https://example.com") as http:
        answer = await exchange(http, links.make(), origin=origin)
        assert error_of(answer) == (403, "FORBIDDEN")


@pytest.mark.parametrize("chosen", [{"env": "production"}, {"host": "0.0.0.0"}])  # noqa: S104
async def test_sign_in_is_refused_on_a_production_server(
    services: Services, links: SignInLinks, chosen: dict[str, Any]
) -> None:
    async with calling(services, **chosen) as http:
        assert error_of(await exchange(http, links.make())) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", "{}"),
        ("application/x-www-form-urlencoded", "code=x"),
        ("application/json; charset=utf-8", '{"code": "x"}'),
        ("application/json", "{}"),
        ("application/json", '{"code": 5}'),
        ("application/json", "[" * 1_000),
        ("application/json", b"\xff"),
    ],
)
async def test_sign_in_takes_json_with_a_code_only(
    local: httpx.AsyncClient, content_type: str, body: str | bytes
) -> None:
    answer = await local.post(
        "/graphql/sign-in", content=body, headers={"content-type": content_type}
    )
    assert error_of(answer) == (400, "BAD_USER_INPUT")


async def test_sign_in_reads_no_large_body(local: httpx.AsyncClient) -> None:
    answer = await local.post("/graphql/sign-in", json={"code": "A" * 5_000})
    assert error_of(answer) == (413, "TOO_LARGE")


@pytest.mark.parametrize("headers", FORWARDED, ids=str)
async def test_proxy_warning_is_logged_once(
    services: Services, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with calling(services) as http:
        assert (await http.get("/healthz")).status_code == 200
        await http.post("/graphql", json={"query": "{ __typename }"})
        assert caplog.records == []
        for path in ("/graphql", "/healthz"):
            await http.post(path, json={"query": "{ __typename }"}, headers=headers)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "HOWDAH_ENV=production" in warning.getMessage()
    assert next(iter(headers)) in warning.getMessage()


async def test_proxy_warning_of_production_names_the_setting(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    for trusted in ("", "10.0.0.1"):
        async with calling(services, env="production", trusted_proxies=trusted) as http:
            await http.get("/healthz", headers={"x-forwarded-for": "192.0.2.1"})
    (warning,) = caplog.records
    assert "HOWDAH_TRUSTED_PROXIES" in warning.getMessage()
