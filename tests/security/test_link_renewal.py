"""A token of a sign-in link is renewed for a local caller only, and until its session ends."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.services import Services
from db.users import Role
from db.users.tokens.own_tokens import AccessTokens
from tests.security.test_local_sign_in import FORWARDED, LOOPBACK, calling, error_of

VIEWER = {"query": "{ viewer { role } }"}


@pytest.fixture
async def token(services: Services) -> str:
    user = await services.identity.local_admin()
    return await services.identity.issue(user, seconds=60, session_life=timedelta(minutes=5))


@pytest.fixture
async def local(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(services) as http:
        yield http


async def renew(http: httpx.AsyncClient, token: str, **headers: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} | headers
    return await http.post("/graphql/sign-in/renew", headers=headers)


def expired(services: Services, token: str) -> str:
    """A token of the same session that expired a minute ago."""
    tokens = AccessTokens(services.keys.secret.derive("access tokens"))
    claims = tokens.verify(token)
    return tokens.make(claims.sub, claims.sid, seconds=-60)[0]


@pytest.mark.parametrize("state", ["valid", "expired"])
async def test_token_of_link_is_renewed(
    local: httpx.AsyncClient, services: Services, token: str, state: str
) -> None:
    presented = expired(services, token) if state == "expired" else token
    answer = await renew(local, presented, origin="http://127.0.0.1:8000")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    headers = {"authorization": f"Bearer {answer.json()['accessToken']}"}
    viewer = await local.post("/graphql", json=VIEWER, headers=headers)
    assert viewer.json()["data"] == {"viewer": {"role": "ADMIN"}}


async def test_expired_token_is_accepted_by_renewal_only(
    local: httpx.AsyncClient, services: Services, token: str
) -> None:
    headers = {"authorization": f"Bearer {expired(services, token)}"}
    answer = await local.post("/graphql", json=VIEWER, headers=headers)
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_token_is_not_renewed_after_its_session(
    local: httpx.AsyncClient, services: Services
) -> None:
    user = await services.identity.local_admin()
    ended = await services.identity.issue(user, seconds=60, session_life=timedelta(seconds=-1))
    answer = await renew(local, ended)
    assert error_of(answer) == (401, "UNAUTHENTICATED")
    hint = answer.json()["errors"][0]["extensions"]["hint"]
    assert f"user sign-in-link --data-dir {services.settings.data_dir}" in hint


async def test_token_of_another_user_is_not_renewed(
    local: httpx.AsyncClient, services: Services
) -> None:
    other = await services.identity.create(
        email="ben@example.com", password="correct horse battery", name="Ben", role=Role.ADMIN
    )
    token = await services.identity.issue(other)
    assert error_of(await renew(local, token)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer é", "Bearer a.b.c", "Basic YTpi"])
async def test_renewal_requires_token(local: httpx.AsyncClient, authorization: str) -> None:
    headers = httpx.Headers({"authorization": authorization}, encoding="utf-8")
    answer = await local.post("/graphql/sign-in/renew", headers=headers)
    assert error_of(answer) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("peer", "headers", "chosen"),
    [
        ("192.0.2.1", {}, {}),
        (LOOPBACK, FORWARDED[1], {}),
        (LOOPBACK, {"host": "howdah.example.com"}, {}),
        (LOOPBACK, {"origin": "http://127.0.0.1:8001"}, {}),
        (LOOPBACK, {}, {"env": "production"}),
    ],
    ids=str,
)
async def test_renewal_is_refused_to_other_callers(
    services: Services, token: str, peer: str, headers: dict[str, str], chosen: dict[str, Any]
) -> None:
    async with calling(services, peer=peer, **chosen) as http:
        status, code = error_of(await renew(http, token, **headers))
    assert (status, code) in {(403, "FORBIDDEN"), (404, "NOT_FOUND")}
