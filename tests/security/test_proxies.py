"""Forwarded requests: which client address counts, and access to the metrics."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from db.errors import BadInput
from db.services import Services
from db.settings import Settings, load_settings
from graph.server.uvicorn_server import create_config
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


@pytest.mark.parametrize("env", ["development", "production"])
async def test_metrics_are_open_to_this_machine(services: Services, env: str) -> None:
    assert await read_metrics(services, env=env) == 200
    assert await read_metrics(services, env=env, host="::1", peer="::1") == 200


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


async def address_seen(settings: Settings, peer: str, forwarded_for: str) -> str:
    """The client's address as the application behind uvicorn's middleware reads it."""

    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.client.host if request.client else "")

    config = create_config(Starlette(routes=[Route("/", echo)]), settings)
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(peer, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://howdah") as http:
        return (await http.get("/", headers={"x-forwarded-for": forwarded_for})).text


@pytest.mark.parametrize(
    ("env", "trusted", "peer", "seen"),
    [
        ("production", "", "127.0.0.1", "127.0.0.1"),
        ("production", "10.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("production", "10.0.0.1, 127.0.0.1", "127.0.0.1", "192.0.2.1"),
        ("production", "10.0.0.0/8", "10.1.2.3", "192.0.2.1"),
        ("development", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_forwarded_address_counts_from_trusted_proxies_only(
    env: str, trusted: str, peer: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    settings = load_settings({"HOWDAH_ENV": env, "HOWDAH_TRUSTED_PROXIES": trusted})
    assert await address_seen(settings, peer, "192.0.2.1") == seen


@pytest.mark.parametrize("proxies", ["*", "proxy.example.com", "10.0.0.1/8", "10.0.0.1 10.0.0.2"])
def test_trusted_proxies_are_addresses(proxies: str) -> None:
    with pytest.raises(BadInput, match="HOWDAH_TRUSTED_PROXIES"):
        load_settings({"HOWDAH_TRUSTED_PROXIES": proxies})
