"""Forwarded requests: which client address and host count, and access to the metrics."""

from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from db.errors import BadInput
from db.services import Services
from db.settings import Settings, load_settings
from graph.context import Context
from graph.server.uvicorn_server import create_config
from graph.transport.gateway import Shutdown
from tests.security.test_local_sign_in import FORWARDED, calling

TOKEN = "0123456789abcdef-of-prometheus"


async def read_metrics(
    services: Services,
    *,
    headers: httpx.Headers | dict[str, str] | None = None,
    peer: str = "127.0.0.1",
    **of: str,
) -> int:
    async with calling(services, peer=peer, **of) as http:
        return (await http.get("/metrics", headers=headers)).status_code


async def test_metrics_are_open_to_this_machine_in_development(services: Services) -> None:
    assert await read_metrics(services) == 200
    assert await read_metrics(services, host="::1", peer="::1") == 200


async def test_production_metrics_need_the_token_on_loopback(services: Services) -> None:
    """A proxy on the same machine may add no header."""
    assert await read_metrics(services, env="production") == 401
    authorized = {"authorization": f"Bearer {TOKEN}"}
    assert await read_metrics(services, env="production", headers=authorized) == 401
    passed = await read_metrics(services, env="production", headers=authorized, metrics_token=TOKEN)
    assert passed == 200


@pytest.mark.parametrize("env", ["development", "production"])
@pytest.mark.parametrize("headers", [*FORWARDED, {"host": "howdah.example.com"}], ids=str)
async def test_metrics_refuse_forwarded_requests_without_a_token(
    services: Services, env: str, headers: dict[str, str]
) -> None:
    assert await read_metrics(services, env=env, headers=headers) == 401
    authorized = headers | {"authorization": f"Bearer {TOKEN}"}
    assert await read_metrics(services, env=env, headers=authorized) == 401
    assert (await read_metrics(services, env=env, headers=authorized, metrics_token=TOKEN)) == 200


async def test_metrics_refuse_another_machine_without_a_token(services: Services) -> None:
    assert await read_metrics(services, peer="192.0.2.1") == 401
    assert await read_metrics(services, host="10.0.0.1") == 401


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (TOKEN, 401),
        ("Bearer \u00e4", 401),
        ("", 401),
    ],
)
async def test_metrics_require_the_exact_token(
    services: Services, authorization: str, status: int
) -> None:
    sent = httpx.Headers({"authorization": authorization}, encoding="utf-8")
    assert await read_metrics(services, headers=sent, metrics_token=TOKEN) == status


async def seen(
    settings: Settings, peer: str, headers: dict[str, str] | list[tuple[str, str]]
) -> dict[str, str]:
    """The client's address, and the start of links, as the application finds them."""

    async def echo(request: Request) -> JSONResponse:
        services = cast("Services", SimpleNamespace(settings=settings))
        context = Context(services=services, viewer=None, request_id="", scope=request.scope)
        return JSONResponse({"address": context.client_address, "links": context.base_url})

    config = create_config(Starlette(routes=[Route("/", echo)]), settings, Shutdown())
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(peer, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://howdah") as http:
        found: dict[str, str] = (await http.get("/", headers=headers)).json()
    return found


@pytest.mark.parametrize(
    ("env", "trusted", "peer", "address"),
    [
        ("production", "", "127.0.0.1", "127.0.0.1"),
        ("production", "10.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("production", "10.0.0.1, 127.0.0.1", "127.0.0.1", "192.0.2.1"),
        ("production", "10.0.0.0/8", "10.1.2.3", "192.0.2.1"),
        ("development", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_forwarded_address_counts_from_trusted_proxies_only(
    env: str, trusted: str, peer: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    settings = load_settings({"HOWDAH_ENV": env, "HOWDAH_TRUSTED_PROXIES": trusted})
    found = await seen(settings, peer, {"x-forwarded-for": "192.0.2.1"})
    assert found["address"] == address


HOSTS = {"x-forwarded-host": "app.example.com", "x-forwarded-proto": "https"}


@pytest.mark.parametrize(
    ("variables", "peer", "headers", "links"),
    [
        ({}, "10.0.0.1", {}, "http://howdah"),
        ({}, "10.0.0.1", HOSTS, "https://app.example.com"),
        ({}, "192.0.2.7", HOSTS, "http://howdah"),
        ({"env": "development"}, "10.0.0.1", HOSTS, "http://howdah"),
        ({"trusted_proxies": ""}, "10.0.0.1", HOSTS, "http://howdah"),
        ({}, "10.0.0.1", {"x-forwarded-host": "forged.example, a:8443"}, "http://a:8443"),
        ({}, "10.0.0.1", {"x-forwarded-host": "[::1]:80"}, "http://[::1]:80"),
        ({}, "10.0.0.1", {"x-forwarded-host": "a/evil?b@c"}, "http://howdah"),
        ({}, "10.0.0.1", {"x-forwarded-host": ""}, "http://howdah"),
        ({"public_url": "https://a.example/h/"}, "10.0.0.1", HOSTS, "https://a.example/h"),
        ({"public_url": "https://a.example"}, "192.0.2.7", HOSTS, "https://a.example"),
        ({"public_url": "https://a.example"}, "10.0.0.1", {"host": "x"}, "https://a.example"),
    ],
)
async def test_links_start_with_public_url_or_host_of_trusted_proxy(
    variables: dict[str, str], peer: str, headers: dict[str, str], links: str
) -> None:
    chosen = {"env": "production", "trusted_proxies": "10.0.0.0/8"} | variables
    environ = {f"HOWDAH_{name.upper()}": value for name, value in chosen.items()}
    assert (await seen(load_settings(environ), peer, headers))["links"] == links


async def test_links_take_the_last_of_several_forwarded_hosts() -> None:
    settings = load_settings({"HOWDAH_ENV": "production", "HOWDAH_TRUSTED_PROXIES": "10.0.0.1"})
    headers = [("x-forwarded-host", "forged.example"), ("x-forwarded-host", "app.example")]
    assert (await seen(settings, "10.0.0.1", headers))["links"] == "http://app.example"


@pytest.mark.parametrize(
    "url",
    ["howdah.example", "ftp://a.example", "https://", "https://a.example/?x=1", "https://u:p@a.b"],
)
def test_public_url_is_the_url_of_a_server(url: str) -> None:
    with pytest.raises(BadInput, match="HOWDAH_PUBLIC_URL"):
        load_settings({"HOWDAH_PUBLIC_URL": url})


@pytest.mark.parametrize("proxies", ["*", "proxy.example.com", "10.0.0.1/8", "10.0.0.1 10.0.0.2"])
def test_trusted_proxies_are_addresses(proxies: str) -> None:
    with pytest.raises(BadInput, match="HOWDAH_TRUSTED_PROXIES"):
        load_settings({"HOWDAH_TRUSTED_PROXIES": proxies})
