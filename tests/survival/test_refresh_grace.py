"""A refresh token presented to two server processes at once, or again after one was killed."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.fixtures.identity import PASSWORD
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.served import Served, new_keys, served

SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { refreshToken } } }"
REFRESH = """mutation ($input: RefreshSessionInput!) { refreshSession(input: $input) {
  session { refreshToken } } }"""
ROUNDS = 10


async def refresh(server: Served, token: str) -> Any:
    """By a client of its own, as another tab or another run of the application."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        body = {"query": REFRESH, "variables": {"input": {"refreshToken": token}}}
        return (await http.post(server.address, json=body)).json()


async def refresh_in_tab(server: Served, cookie: str) -> str:
    """With the cookie of a browser; returns the cookie that replaces it."""
    origin = server.address.removesuffix("/graphql")
    async with httpx.AsyncClient(
        timeout=PATIENCE_S, headers={"origin": origin, "cookie": cookie}
    ) as http:
        body = {"query": REFRESH, "variables": {"input": {}}}
        response = await http.post(server.address, json=body)
    assert "errors" not in response.json(), response.text
    return str(response.headers["set-cookie"].partition(";")[0])


async def test_two_processes_give_the_same_successor_and_one_survives_the_other(
    committed_url: str, tmp_path: Path
) -> None:
    shared = {
        "HOWDAH_ENV": "development",
        "HOWDAH_DATABASE_URL": committed_url,
        **new_keys(),
    }
    async with served(tmp_path / "a", **shared) as one, served(tmp_path / "b", **shared) as two:
        new = {"email": "eve@example.com", "password": PASSWORD, "name": "Eve"}
        token = (await one.ask(SIGN_UP, input=new))["signUp"]["session"]["refreshToken"]
        for _ in range(ROUNDS):
            cookie = f"howdah-refresh={token}"
            tabs = [refresh_in_tab(server, cookie) for server in (one, two, one, two)]
            (successor,) = set(await asyncio.gather(*tabs))
            token = successor.partition("=")[2]
        lost = await refresh(one, token)
        await one.kill("server")
        repeated = await refresh(two, token)
        latest = repeated["data"]["refreshSession"]["session"]["refreshToken"]
        assert lost["data"]["refreshSession"]["session"]["refreshToken"] == latest
        assert "errors" not in await refresh(two, latest)
        stolen = await refresh(two, token)
        assert stolen["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert "errors" in await refresh(two, latest)  # the family is revoked
