"""Hostile requests are refused with a short error; `make bench-hostile` measures the time."""

from typing import Any

import httpx
import pytest

from graph.operations.limits import RequestLimits
from tests.fixtures.hostile import REQUESTS, body_of


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
async def test_hostile_request_is_refused_with_short_error(
    http: httpx.AsyncClient, request_: dict[str, Any]
) -> None:
    body = body_of(request_)
    assert len(body) < RequestLimits().body_bytes
    headers = {"content-type": "application/json", "accept": "application/graphql-response+json"}
    answer = await http.post("/graphql", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    errors = answer.json()["errors"]
    assert 1 <= len(errors) <= 6  # five, and that these were not all
    assert {error["extensions"]["code"] for error in errors} <= {"BAD_USER_INPUT", "TOO_LARGE"}
    assert len(answer.content) < 10_000
