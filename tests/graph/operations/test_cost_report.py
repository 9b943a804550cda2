"""`extensions.cost`: what an operation requests, and what is left, on demand."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.settings import Settings
from graph.operations.limits import RequestLimits
from tests.fixtures.clients import Client

PAGES = "query($n: Int!) { box { boxes(first: $n) { name } } }"
ASKED = {"extensions": {"cost": True}}


def cost_of(answer: dict[str, Any]) -> dict[str, Any]:
    cost: dict[str, Any] = answer["extensions"]["cost"]
    return cost


async def test_cost_is_reported_on_demand(toy_client: httpx.AsyncClient) -> None:
    async def post(n: int, **rest: Any) -> dict[str, Any]:
        body = {"query": PAGES, "variables": {"n": n}} | rest
        answer: dict[str, Any] = (await toy_client.post("/graphql", json=body)).json()
        return answer

    assert "extensions" not in await post(3)
    assert "extensions" not in await post(3, extensions={"cost": "yes"})
    answer = await post(3, **ASKED)
    assert answer["data"]["box"]["boxes"] == [{"name": "box"}] * 3
    allowed = RequestLimits().requested_fields
    cost = {"requested": 5, "allowed": allowed, "remaining": None, "resetsAt": None}
    assert cost_of(answer) == cost
    refused = await post(20_000_000, **ASKED)
    assert refused["errors"][0]["extensions"]["code"] == "TOO_LARGE"
    assert cost_of(refused)["requested"] == 20_000_002


async def test_cost_is_reported_by_first_event(toy_client: httpx.AsyncClient) -> None:
    body = {"query": "subscription { count(to: 2) }"} | ASKED
    stream = await toy_client.post("/graphql", json=body, headers={"accept": "text/event-stream"})
    events = [json.loads(line[6:]) for line in stream.text.splitlines() if line[6:].startswith("{")]
    assert ["extensions" in event for event in events] == [True, False]
    assert cost_of(events[0])["requested"] == 1


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(env="development", data_dir=tmp_path, cost_per_minute=1_000)


async def test_cost_in_a_minute_is_limited_by_setting(sign_in: Any) -> None:
    ann: Client = await sign_in("Ann")
    bob: Client = await sign_in("Bob")
    tasks = "query($n: Int!) { tasks(first: $n) { nodes { id } } }"

    async def ask(client: Client, n: int) -> dict[str, Any]:
        body = {"query": tasks, "variables": {"n": n}} | ASKED
        response = await client.http.post("/graphql", json=body, headers=client.headers)
        answer: dict[str, Any] = response.json()
        return answer | {"status": response.status_code}

    first = await ask(ann, 299)  # `nodes` and `id` of 299 tasks, and `tasks`
    assert (first["status"], cost_of(first)["requested"], cost_of(first)["remaining"]) == (
        200,
        599,
        401,
    )
    assert cost_of(first)["resetsAt"].endswith("+00:00")
    refused = await ask(ann, 299)
    assert refused["status"] == 429
    [error] = refused["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retryAfter"] > 0
    assert cost_of(refused)["remaining"] == 401
    assert (await ask(ann, 600))["errors"][0]["extensions"]["code"] == "TOO_LARGE"
    assert cost_of(await ask(bob, 299))["remaining"] == 401
    assert (await ann.send("{ health { status } }")).data  # always free
