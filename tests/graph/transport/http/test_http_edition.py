"""GraphQL over HTTP, edition of September 2026: each MUST and SHOULD that binds a server.

The texts are ours. What binds a client is checked with the clients themselves: `tests/clients`,
`tests/browser`. Not tested: status 418, which requires that the server is a teapot.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import httpx
import pytest

from graph.server import http_protocol
from graph.server.http_protocol import HEAD_BYTES
from graph.transport.http.accept import GRAPHQL_JSON, JSON
from tests.fixtures.toy import ANN, ToyServer, client_of

Check: TypeAlias = Callable[[httpx.AsyncClient], Awaitable[None]]

MUTATION = 'mutation { signIn(email: "a") }'
PARTIAL = "{ hello meet(trouble: FIELD) }"
NULL_DATA = "{ whoami }"  # a non-null field that fails without a viewer
UTF_8 = "; charset=utf-8"


class Requirement(NamedTuple):
    section: str
    text: str
    check: Check

    def __str__(self) -> str:
        return f"{self.section}: {self.text}"


REQUIREMENTS: list[Requirement] = []
OF_SOCKETS: list[Requirement] = []
"""Those that are met below the application, by the server that reads the socket."""


def requires(
    section: str, *texts: str, of: list[Requirement] = REQUIREMENTS
) -> Callable[[Check], Check]:
    """Registers the check of one or more requirements of a section."""

    def register(check: Check) -> Check:
        of.extend(Requirement(section, text, check) for text in texts)
        return check

    return register


async def exchanged(client: httpx.AsyncClient, request: bytes) -> bytes:
    """The response of the server to bytes that httpx would not send."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(request)
    response = await reader.read()
    writer.close()
    return response


async def post(
    client: httpx.AsyncClient, body: object, accept: str = GRAPHQL_JSON, **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": JSON, "accept": accept} | headers
    return await client.post("/graphql", content=content, headers=sent)


async def query(
    client: httpx.AsyncClient, text: str, accept: str = GRAPHQL_JSON, **rest: Any
) -> httpx.Response:
    return await post(client, {"query": text} | rest, accept)


async def get(client: httpx.AsyncClient, **parameters: str) -> httpx.Response:
    return await client.get("/graphql", params=parameters, headers={"accept": GRAPHQL_JSON})


def refused(response: httpx.Response, status: int) -> None:
    """The response is a request error result: errors, and no data."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == GRAPHQL_JSON + UTF_8
    assert set(response.json()) == {"errors"}


@requires("URL", "A server MUST enable requests to a schema.", "It MUST be served by a URL.")
@requires("Serialization Format", "A server MUST support JSON.")
@requires("Request", "A server MUST accept POST.")
async def schema_is_served(client: httpx.AsyncClient) -> None:
    assert (await query(client, "{ hello }")).json() == {"data": {"hello": "Hello, you!"}}
    assert (await query(client, MUTATION)).json() == {"data": {"signIn": "a"}}


@requires(
    "URL",
    "A forbidden request SHOULD get the relevant 4xx or 5xx status.",
    "Whether it is forbidden SHOULD NOT depend on a well-formed request's content.",
)
async def forbidden_request_gets_status(client: httpx.AsyncClient) -> None:
    for text in ("{ hello }", "{ nothing }", "{"):
        body = {"query": text}
        refused(await post(client, body, authorization="Bearer unknown"), 401)


@requires(
    "Media Types",
    "Without an encoding in Content-Type or Accept, UTF-8 MUST be assumed.",
)
async def encoding_defaults_to_utf_8(client: httpx.AsyncClient) -> None:
    response = await query(client, '{ hello(name: "Ünï") }')
    assert json.loads(response.content.decode()) == {"data": {"hello": "Hello, Ünï!"}}


@requires(
    "GET",
    "Parameters MUST be in the query of the URL, encoded as by URLSearchParams.",
    "`query` MUST be the source text of the document.",
    "`variables` and `extensions` MUST be JSON, unless absent or empty.",
)
async def get_reads_parameters_of_url(client: httpx.AsyncClient) -> None:
    text = "query A($n: String) { hello(name: $n) } query null { other: hello }"
    spaced = await client.get(
        "/graphql?query=query(%24n%3AString)%7Bhello(name%3A%24n)+%7D&variables=%7B%22n%22%3A%22A+B%22%7D"
    )
    assert spaced.json() == {"data": {"hello": "Hello, A B!"}}
    named = await get(client, query=text, operationName="A", variables="", extensions="")
    assert named.json() == {"data": {"hello": "Hello, you!"}}
    literal = await get(client, query=text, operationName="null")
    assert literal.json() == {"data": {"other": "Hello, you!"}}
    unnamed = await get(client, query="{ hello }", operationName="")
    assert unnamed.json() == {"data": {"hello": "Hello, you!"}}
    refused(await get(client, query="{ hello }", variables="n=Ann"), 400)
    refused(await get(client, query="{ hello }", extensions="[]"), 422)


@requires("Status Codes", "A mutation by GET SHOULD have 405.")
@requires(
    "GET",
    "GET MUST NOT execute a mutation.",
    "A mutation MUST get a 4xx and is not executed; 405 is recommended.",
)
async def get_executes_no_mutation(client: httpx.AsyncClient) -> None:
    text = 'mutation A { signIn(email: "a") } query B { hello }'
    response = await get(client, query=text, operationName="A")
    refused(response, 405)
    assert response.headers["allow"] == "POST"


@requires("POST", "A request MUST have a body with the parameters.")
async def post_requires_body(client: httpx.AsyncClient) -> None:
    refused(await post(client, b""), 400)


@requires(
    "POST",
    "A server MUST support application/json encoded with UTF-8.",
    "Without an encoding it MUST assume UTF-8.",
)
async def post_reads_utf_8(client: httpx.AsyncClient) -> None:
    body = json.dumps({"query": '{ hello(name: "é") }'}, ensure_ascii=False).encode()
    for content_type in (JSON, JSON + UTF_8):
        response = await post(client, body, **{"content-type": content_type})
        assert response.json() == {"data": {"hello": "Hello, é!"}}


@requires("POST", "Without a Content-Type a server SHOULD respond with a 4xx.")
async def post_requires_content_type(client: httpx.AsyncClient) -> None:
    body = b'{"query": "{ hello }"}'
    refused(await client.post("/graphql", content=body, headers={"accept": GRAPHQL_JSON}), 415)


@requires("JSON Encoding", "Unknown properties of a request MUST be ignored.")
async def unknown_properties_are_ignored(client: httpx.AsyncClient) -> None:
    assert (await query(client, "{ hello }", id="1", onError="NULL")).status_code == 200


@requires("JSON Encoding", "`null` for an optional parameter is the same as none.")
async def null_is_the_same_as_none(client: httpx.AsyncClient) -> None:
    optional = {"operationName": None, "variables": None, "extensions": None}
    assert (await post(client, {"query": "{ hello }"} | optional)).status_code == 200


@requires("Response", "A server must comply with RFC 9110: HEAD, and Allow beside 405.")
async def http_is_respected(client: httpx.AsyncClient) -> None:
    head = await client.head("/graphql", params={"query": "{ hello }"})
    assert (head.status_code, head.content) == (200, b"")
    assert "POST" in (await client.patch("/graphql")).headers["allow"]


@requires(
    "Body",
    "The body MUST be an execution result or a request error result, in the chosen media type.",
    "A server MUST name the media type and SHOULD name the encoding.",
    "A server MUST support application/graphql-response+json.",
)
async def body_is_result(client: httpx.AsyncClient) -> None:
    response = await query(client, "{ hello }")
    assert set(response.json()) == {"data"}
    assert response.headers["content-type"] == GRAPHQL_JSON + UTF_8


@requires("Body", "The highest priority of Accept that is supported MUST be used.")
async def accept_is_respected(client: httpx.AsyncClient) -> None:
    for accept, chosen in (
        (f"{GRAPHQL_JSON}, {JSON};q=0.9", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.9, {JSON}", JSON),
        (f"application/cbor, {GRAPHQL_JSON};q=0.1", GRAPHQL_JSON),
        (f"{JSON};q=0, */*", GRAPHQL_JSON),
    ):
        response = await query(client, "{ hello }", accept)
        assert response.headers["content-type"] == chosen + UTF_8, accept


@requires(
    "Body",
    "Without an acceptable type a server MUST respond with 406, or disregard Accept.",
    "If Accept names no supported type, 406 SHOULD be used.",
)
async def unsupported_accept_is_406(client: httpx.AsyncClient) -> None:
    assert (await query(client, "{ hello }", "text/html, application/xml")).status_code == 406


@requires(
    "Body",
    "For a client that accepts only application/json, the same rules SHOULD apply; only a 2xx "
    "response has the type application/json.",
)
async def legacy_client_gets_same_rules(client: httpx.AsyncClient) -> None:
    for text in ("{ hello }", PARTIAL, NULL_DATA):
        response = await query(client, text, JSON)
        assert response.status_code == 200  # 294 has no meaning beside this type
        assert response.headers["content-type"] == JSON + UTF_8
    for text, status in (("{", 400), ("{ nothing }", 422)):
        refused(await query(client, text, JSON), status)


@requires("Validation", "All rules of GraphQL SHOULD be applied.")
async def documents_are_validated(client: httpx.AsyncClient) -> None:
    for text in ("query A { hello } query A { name }", "fragment F on Query { name } { hello }"):
        refused(await query(client, text, operationName="A"), 422)


@requires(
    "Status Codes",
    "Without a well-formed response, a 4xx or 5xx SHOULD be used, and MUST NOT have the type of a "
    "GraphQL response.",
    of=OF_SOCKETS,
)
async def failure_of_http_is_no_graphql_response(client: httpx.AsyncClient) -> None:
    response = await exchanged(client, b"GARBAGE\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 400 ")
    assert GRAPHQL_JSON.encode() not in response


@requires(
    "Status Codes",
    "Data that is not null MUST have a 2xx.",
    "Data without errors SHOULD have 200.",
)
async def data_without_errors_is_200(client: httpx.AsyncClient) -> None:
    assert (await query(client, "{ hello }")).status_code == 200


@requires(
    "Status Codes",
    "Data with errors SHOULD have 294, also if data is null.",
    "Errors of fields are no request error: 2xx.",
)
async def data_with_errors_is_294(client: httpx.AsyncClient) -> None:
    partial = await query(client, PARTIAL)
    assert (partial.status_code, partial.json()["data"]["hello"]) == (294, "Hello, you!")
    null = await query(client, NULL_DATA)
    assert (null.status_code, null.json()["data"]) == (294, None)


@requires("Status Codes", "A result without data MUST have a 4xx or 5xx.")
async def result_without_data_is_error(client: httpx.AsyncClient) -> None:
    for accept in (GRAPHQL_JSON, JSON, "*/*"):
        refused(await query(client, "{ nothing }", accept), 422)


@requires("Status Codes", "An unsupported method SHOULD have 405.")
async def unsupported_method_is_405(client: httpx.AsyncClient) -> None:
    refused(await client.patch("/graphql"), 405)


@requires("Status Codes", "An unsupported Content-Type SHOULD have 415.")
async def unsupported_content_type_is_415(client: httpx.AsyncClient) -> None:
    for content_type in ("text/plain", "application/graphql", f"{JSON}; charset=latin-1"):
        body = {"query": "{ hello }"}
        refused(await post(client, body, **{"content-type": content_type}), 415)


@requires("Status Codes", "A request that is late SHOULD have 408.", of=OF_SOCKETS)
async def late_request_is_408(client: httpx.AsyncClient) -> None:
    head = b"POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    assert (await exchanged(client, head + b'{"query":')).startswith(b"HTTP/1.1 408 ")


@requires("Status Codes", "A URI that is too long SHOULD have 414.", of=OF_SOCKETS)
async def long_uri_is_414(client: httpx.AsyncClient) -> None:
    head = b"GET /graphql?query=%s HTTP/1.1\r\nHost: howdah\r\n\r\n" % (b"+" * HEAD_BYTES)
    assert (await exchanged(client, head)).startswith(b"HTTP/1.1 414 ")


@requires("Status Codes", "Headers that are too large SHOULD have 431.", of=OF_SOCKETS)
async def large_headers_are_431(client: httpx.AsyncClient) -> None:
    head = b"GET /graphql HTTP/1.1\r\nX-Large: %s\r\n\r\n" % (b"x" * HEAD_BYTES)
    assert (await exchanged(client, head)).startswith(b"HTTP/1.1 431 ")


@requires("Status Codes", "A body that is too large SHOULD have 413.")
async def large_body_is_413(client: httpx.AsyncClient) -> None:
    refused(await query(client, "{ hello }" + " " * 1_000_000), 413)


@requires("Status Codes", "A body that is no JSON SHOULD have 400.")
async def body_without_json_is_400(client: httpx.AsyncClient) -> None:
    for body in (b"NONSENSE", b'{"query":', b'{"query": "\xff"}'):
        refused(await post(client, body), 400)


@requires("Status Codes", "A request that is not well-formed SHOULD have 422.")
async def malformed_request_is_422(client: httpx.AsyncClient) -> None:
    for body in (
        {"qeury": "{ __typename }"},
        {"query": {"a": 1}},
        {"query": "{ hello }", "variables": [7]},
        {"query": "{ hello }", "operationName": 1},
        {"query": "{ hello }", "extensions": "x"},
        [{"query": "{ hello }"}],
    ):
        refused(await post(client, body), 422)
    refused(await get(client, operationName="A"), 422)


@requires("Status Codes", "A document that cannot be parsed SHOULD have 400.")
async def unparsed_document_is_400(client: httpx.AsyncClient) -> None:
    refused(await query(client, "{"), 400)
    refused(await query(client, ""), 400)


@requires("Status Codes", "A document that is not valid SHOULD have 422 and is not executed.")
async def invalid_document_is_422(client: httpx.AsyncClient) -> None:
    refused(await query(client, "{ hello nothing }"), 422)
    refused(await query(client, "{ " + "box { " * 25 + "name" + " }" * 26), 422)  # our own limit


@requires(
    "Status Codes",
    "An operation that is not determined SHOULD have 422 and SHOULD NOT be executed.",
)
async def unknown_operation_is_422(client: httpx.AsyncClient) -> None:
    text = "query A { hello } query B { name }"
    refused(await query(client, text), 422)
    refused(await query(client, text, operationName="C"), 422)
    refused(await query(client, "fragment F on Query { name }"), 422)


@requires(
    "Status Codes",
    "Variables that do not match SHOULD have 422, and the operation SHOULD NOT be executed.",
)
async def wrong_variables_are_422(client: httpx.AsyncClient) -> None:
    text = "query($n: String!) { hello(name: $n) }"
    refused(await query(client, text, variables={"n": 5}), 422)
    refused(await query(client, text), 422)


@requires("Status Codes", "A client that may not send the request SHOULD get 401 or 403.")
async def unknown_client_is_401(client: httpx.AsyncClient) -> None:
    refused(await post(client, {"query": "{ hello }"}, authorization="Bearer unknown"), 401)
    body = {"query": "{ whoami }"}
    known = await post(client, body, authorization="Bearer ann")
    assert known.json() == {"data": {"whoami": str(ANN)}}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
async def test_edition_requirement_is_met(
    toy_client: httpx.AsyncClient, requirement: Requirement
) -> None:
    await requirement.check(toy_client)


@pytest.mark.parametrize("requirement", OF_SOCKETS, ids=str)
async def test_edition_requirement_is_met_below_http(
    toy_server: ToyServer, requirement: Requirement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_S", 0.2)
    async with client_of(toy_server) as client:
        await requirement.check(client)


async def test_edition_server_that_stops_responds_with_503(toy_server: ToyServer) -> None:
    async with client_of(toy_server) as client:
        await query(client, "{ hello }")
        toy_server.stop.begin()
        refused(await query(client, "{ hello }"), 503)
