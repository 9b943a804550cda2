"""Compressed responses, the schema as SDL, and the method QUERY."""

import asyncio
import gzip
from typing import Any

import httpx
import pytest

from graph.transport.compression import MIN_BYTES, Compressor, accepts_gzip
from graph.transport.http.accept import GRAPHQL_JSON
from graph.transport.routes.schema_route import PATH
from tests.fixtures.toy import Door, ToyServer, calling, client_of, schema, toy_app

ECHO = "query($v: JSON!) { echo(value: $v) }"
LARGE = ["text"] * 500


async def ask(client: httpx.AsyncClient, encodings: str, **body: Any) -> httpx.Response:
    headers = {"accept": GRAPHQL_JSON, "accept-encoding": encodings}
    return await client.post("/graphql", json=body, headers=headers)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, False),
        (b"", False),
        (b"gzip", True),
        (b"br;q=1.0, GZIP;q=0.8, *;q=0.1", True),
        (b"gzip;q=0", False),
        (b"gzip; q=x", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"identity, br", False),
    ],
)
def test_accept_encoding_is_parsed(header: bytes | None, *, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_large_answer_is_compressed_for_clients_that_accept_it(
    toy_client: httpx.AsyncClient,
) -> None:
    body = {"query": ECHO, "variables": {"v": LARGE}}
    plain = await ask(toy_client, "identity", **body)
    assert "content-encoding" not in plain.headers
    compressed = await ask(toy_client, "gzip, deflate, br", **body)
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(plain.content) / 10
    assert compressed.json() == plain.json() == {"data": {"echo": LARGE}}
    for answer in (plain, compressed):
        assert "accept-encoding" in answer.headers["vary"]


async def test_small_answer_is_not_compressed(toy_client: httpx.AsyncClient) -> None:
    padding = "x" * (MIN_BYTES - len('{"data":{"echo":""}}'))
    for text, encoding in ((padding, None), (padding + "x", "gzip")):
        answer = await ask(toy_client, "gzip", query=ECHO, variables={"v": text})
        assert answer.headers.get("content-encoding") == encoding


async def test_answer_of_mutation_is_never_compressed(toy_client: httpx.AsyncClient) -> None:
    """It may hold tokens: their length beside a text of an attacker would show (BREACH)."""
    text = "mutation($e: String!) { signIn(email: $e) }"
    answer = await ask(toy_client, "gzip", query=text, variables={"e": "x" * 5_000})
    assert answer.json() == {"data": {"signIn": "x" * 5_000}}
    assert "content-encoding" not in answer.headers


async def test_compression_of_large_answers_takes_turns() -> None:
    compressor = Compressor()
    large, small = b"large answer " * 1_000_000, b"small " * 5_000
    first = asyncio.create_task(compressor.gzip(large))
    await asyncio.sleep(0)
    assert gzip.decompress(await compressor.gzip(small)) == small
    assert not first.done()  # a large one does not hold up the next
    assert gzip.decompress(await first) == large


async def test_query_method_reads_and_refuses_mutations(toy_server: ToyServer) -> None:
    async with client_of(toy_server) as client:

        async def send(method: str, text: str, **headers: str) -> httpx.Response:
            return await client.request(method, "/graphql", json={"query": text}, headers=headers)

        answer = await send("QUERY", "{ hello }")
        assert answer.json() == {"data": {"hello": "Hello, you!"}}
        assert answer.headers["accept-query"] == "application/json"
        mutation = await send("QUERY", 'mutation { signIn(email: "a") }')
        assert (mutation.status_code, mutation.headers["allow"]) == (405, "POST")
        counted = await send("QUERY", "subscription { count(to: 2) }", accept="text/event-stream")
        assert counted.text.count("event: next") == 2
        untyped = await client.request("QUERY", "/graphql", content=b'{"query": "{ hello }"}')
        assert untyped.status_code == 415
        options = await client.options("/graphql")
        assert options.status_code == 204
        assert "QUERY" in options.headers["allow"].split(", ")
        assert options.headers["accept-query"] == "application/json"


async def test_query_method_is_allowed_by_cors(door: Door) -> None:
    async with calling(toy_app(door, allowed_origins="https://app.example.com")) as client:
        preflight = await client.options(
            "/graphql",
            headers={
                "origin": "https://app.example.com",
                "access-control-request-method": "QUERY",
                "access-control-request-headers": "content-type, authorization",
            },
        )
    assert preflight.status_code == 200
    assert "QUERY" in preflight.headers["access-control-allow-methods"]


async def test_schema_is_served_as_sdl(toy_client: httpx.AsyncClient) -> None:
    plain = await toy_client.get(PATH, headers={"accept-encoding": "identity"})
    assert plain.text == schema.as_str()
    assert plain.headers["content-type"] == "application/graphql; charset=utf-8"
    compressed = await toy_client.get(PATH, headers={"accept-encoding": "gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.text == plain.text
    assert compressed.headers["etag"] != plain.headers["etag"]
    known = {"if-none-match": plain.headers["etag"], "accept-encoding": "identity"}
    assert (await toy_client.get(PATH, headers=known)).status_code == 304


async def test_schema_is_hidden_without_introspection(door: Door) -> None:
    async with calling(toy_app(door, introspection=False)) as client:
        refused = await client.get(PATH)
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["extensions"]["hint"]
