import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from graph.transport.http.accept import GRAPHQL_JSON, JSON
from tests.fixtures.toy import ANN, ToyServer, client_of

JSON_HEADERS = {"content-type": "application/json"}


async def ask(client: httpx.AsyncClient, query: str, **headers: str) -> httpx.Response:
    return await client.post("/graphql", json={"query": query}, headers=headers)


async def send(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    return await client.post("/graphql", content=body, headers=JSON_HEADERS | headers)


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["errors"][0]
    assert error["extensions"]["hint"]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return error


async def test_post_returns_result(toy_client: httpx.AsyncClient) -> None:
    response = await ask(toy_client, "{ hello }")
    assert response.status_code == 200
    assert response.json() == {"data": {"hello": "Hello, you!"}}
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_post_uses_variables_and_operation_name(
    toy_client: httpx.AsyncClient,
) -> None:
    query = "query A($n: String!) { hello(name: $n) } query B { whoami }"
    body = {"query": query, "operationName": "A", "variables": {"n": "Ann"}}
    response = await toy_client.post("/graphql", json=body)
    assert response.json() == {"data": {"hello": "Hello, Ann!"}}


async def test_viewer_is_user_of_token(toy_client: httpx.AsyncClient) -> None:
    signed_in = await ask(toy_client, "{ whoami }", authorization="Bearer ann")
    assert signed_in.json() == {"data": {"whoami": str(ANN)}}
    anonymous = await ask(toy_client, "{ whoami }")
    assert anonymous.status_code == 200
    assert error_of(anonymous)["extensions"]["code"] == "UNAUTHENTICATED"
    wrong = await ask(toy_client, "{ hello }", authorization="Bearer bob")
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
    assert error_of(wrong)["extensions"]["code"] == "UNAUTHENTICATED"


async def test_retry_after_is_also_a_header(toy_client: httpx.AsyncClient) -> None:
    response = await ask(toy_client, "{ meet(trouble: OVERLOADED) hello }")
    assert response.headers["retry-after"] == "2"
    assert error_of(response)["extensions"]["retryAfter"] == 1.5


async def test_html_only_is_not_acceptable(toy_client: httpx.AsyncClient) -> None:
    assert (await ask(toy_client, "{ hello }", accept="text/html")).status_code == 406
    listed = await ask(toy_client, "subscription { count(to: 1) }", accept=JSON)
    assert listed.status_code == 406
    assert "text/event-stream" in error_of(listed)["extensions"]["hint"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b"[]",
        b'[{"query": "{ hello }"}]',
        b"{}",
        b'{"query": null}',
        b'{"query": 5}',
        b'{"query": "{ hello }", "variables": []}',
        b'{"query": "{ hello }", "operationName": 1}',
        b'{"query": "{ hello }", "extensions": "x"}',
        b'{"query": "{ hello }"} x',
        b'{"query": "\xff"}',
        b'{"query": "\xed\xa0\x80"}',
        b'{"query": "\\ud800"}',
        b'{"query": "{ hello }", "variables": {"a": NaN}}',
        b'{"query": "{ hello }", "variables": {"a": 1e999}}',
        b'{"query": "{ hello }", "variables": {"a": ' + b"9" * 5_000 + b"}}",
        b'{"query": "{ hello }", "variables": {"a": ' + b"[" * 400_000,
        b'{"variables": ' + b'{"a":' * 150_000,
        b"[" * 900_000,
        b"{" * 900_000,
    ],
    ids=lambda body: body[:40].decode("latin-1") + f"+{len(body)}",
)
async def test_body_that_is_malformed_is_bad_user_input(
    toy_client: httpx.AsyncClient, body: bytes
) -> None:
    response = await send(toy_client, body)
    assert response.status_code in {400, 422}
    assert error_of(response)["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("end", ["", " and more of the text"], ids=["end", "middle"])
@pytest.mark.parametrize("half", [r"\ud83d", r"\uDC18", r"\ud83d\u0041"])
async def test_body_with_half_a_character_is_refused_for_it(
    toy_client: httpx.AsyncClient, half: str, end: str
) -> None:
    body = rb'{"query": "{ hello }", "variables": {"name": "%s"}}' % (half + end).encode()
    error = error_of(await send(toy_client, body))
    assert "unpaired surrogate" in error["message"]
    assert "toWellFormed()" in error["extensions"]["hint"]


async def test_truncated_body_with_whole_characters_is_refused_as_truncated(
    toy_client: httpx.AsyncClient,
) -> None:
    error = error_of(await send(toy_client, rb'{"query": "{ hello }", "name": "\ud83d\udc18'))
    assert "truncated" in error["message"]


@pytest.mark.parametrize(
    "value",
    [
        b"9" * 400,
        b"-" + b"9" * 30,
        b"1e-999",
        b"[" * 300 + b"]" * 300,
        b"[" * 900 + b"]" * 900,
        b'"\\u0000"',
        b'{"a": 1, "a": 2}',
    ],
    ids=lambda value: value[:12].decode() + f"+{len(value)}",
)
@pytest.mark.parametrize("query", ["echo(value: $v)", "hello(name: $n) echo(value: [$v])"])
async def test_body_with_unusual_values_never_fails_internally(
    toy_client: httpx.AsyncClient, value: bytes, query: str
) -> None:
    text = f"query($v: JSON!, $n: String) {{ {query} }}"
    body = b'{"query": %s, "variables": {"v": %s, "n": null}}' % (json.dumps(text).encode(), value)
    response = await send(toy_client, body)
    assert response.status_code in {200, 400, 422}
    assert response.json()


async def test_body_with_duplicate_keys_uses_one(toy_client: httpx.AsyncClient) -> None:
    response = await send(toy_client, b'{"query": "{ name }", "query": "{ hello }"}')
    assert response.json() == {"data": {"hello": "Hello, you!"}}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": 'Application/JSON;charset="UTF-8"'}, 200),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-type": "application/jsonp"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": ""}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-encoding": "identity"}, 200),
    ],
)
async def test_content_type_must_be_json(
    toy_client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    response = await toy_client.post(
        "/graphql", content=b'{"query": "{ hello }"}', headers=JSON_HEADERS | headers
    )
    assert response.status_code == status


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65_536


async def test_body_without_end_is_limited(toy_client: httpx.AsyncClient) -> None:
    response = await toy_client.post("/graphql", content=_endless(), headers=JSON_HEADERS)
    assert response.status_code == 413
    assert error_of(response)["extensions"]["code"] == "TOO_LARGE"


@pytest.mark.parametrize("declared", ["1000001", "9" * 5_000])
async def test_body_declared_too_large_is_refused_at_once(
    toy_client: httpx.AsyncClient, declared: str
) -> None:
    response = await send(toy_client, b"{}", **{"content-length": declared})
    assert response.status_code == 413


async def test_get_runs_queries_and_no_mutations(toy_client: httpx.AsyncClient) -> None:
    parameters = {"query": "query($n: String) { hello(name: $n) }", "variables": '{"n": "Ann"}'}
    answered = await toy_client.get("/graphql", params=parameters)
    assert answered.json() == {"data": {"hello": "Hello, Ann!"}}
    mutation = 'mutation { signIn(email: "a") }'
    refused = await toy_client.get("/graphql", params={"query": mutation})
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "query_string",
    ["", "variables={}", "query={hello}&variables=[1]", "query={hello}&variables={", "query=%ff"],
)
async def test_get_with_malformed_query_string_is_refused(
    toy_client: httpx.AsyncClient, query_string: str
) -> None:
    assert (await toy_client.get(f"/graphql?{query_string}")).status_code in {400, 422}


@pytest.mark.parametrize(("method", "status"), [("PATCH", 405), ("OPTIONS", 204)])
async def test_method_that_is_unsupported_lists_allowed(
    toy_client: httpx.AsyncClient, method: str, status: int
) -> None:
    response = await toy_client.request(method, "/graphql")
    assert response.status_code == status
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT, QUERY"


HELLO = {"query": "{ hello }"}


@pytest.mark.parametrize(
    ("path", "parameters", "accept"),
    [
        ("/graphql", HELLO, "*/*"),
        ("/graphql", HELLO, GRAPHQL_JSON),
        ("/graphql", {}, "*/*"),
        ("/graphql", {}, "text/html"),
        ("/graphql", {"query": "{ nothing }"}, GRAPHQL_JSON),
        ("/graphql", {"query": 'mutation { signIn(email: "a") }'}, "*/*"),
        ("/healthz", {}, "*/*"),
    ],
)
async def test_head_equals_get_without_body(
    toy_server: ToyServer, path: str, parameters: dict[str, str], accept: str
) -> None:
    headers = {"accept": accept, "x-request-id": "the-same"}
    async with client_of(toy_server) as client:
        head = await client.head(path, params=parameters, headers=headers)
        get = await client.get(path, params=parameters, headers=headers)  # on the same connection
    assert head.status_code == get.status_code
    assert head.content == b""
    assert get.content != b""
    compared = ("content-type", "content-length", "allow")
    assert [head.headers.get(name) for name in compared] == [
        get.headers.get(name) for name in compared
    ]


async def test_head_of_subscription_is_refused(toy_server: ToyServer) -> None:
    async with client_of(toy_server) as client:
        response = await client.head(
            "/graphql",
            params={"query": "subscription { forever }"},
            headers={"accept": "text/event-stream", "authorization": "Bearer ann"},
        )
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST, QUERY"


async def test_request_id_is_adopted_if_valid(
    toy_client: httpx.AsyncClient,
) -> None:
    given = await ask(toy_client, "{ whoami }", **{"x-request-id": "from-the.proxy_7"})
    assert given.headers["x-request-id"] == "from-the.proxy_7"
    assert error_of(given)
    for insane in ("a b", "x" * 65, "<script>"):
        response = await ask(toy_client, "{ hello }", **{"x-request-id": insane})
        assert response.headers["x-request-id"] != insane


async def test_browser_gets_page(toy_client: httpx.AsyncClient) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = await toy_client.get("/graphql", headers=browser)
    assert page.headers["content-type"].startswith("text/html")
    tool = await toy_client.get("/graphql", params={"query": "{ hello }"})
    assert tool.json() == {"data": {"hello": "Hello, you!"}}
