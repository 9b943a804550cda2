"""A server that runs only listed documents, over every transport."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import websockets

from db.errors import BadInput
from db.settings import load_settings
from graph.operations.listed_documents import sha256_id
from graph.transport.http.accept import GRAPHQL_JSON
from tests.fixtures.clients import SUBPROTOCOL
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import Door, ToyServer, calling, serving, toy_app

HELLO = "query Hello($n: String) { hello(name: $n) }"
MUTATION = 'mutation SignIn { signIn(email: "a") }'
COUNT = "subscription Count { count(to: 2) }"
UNLISTED = "{ box { name } }"
LISTED = {"hello": HELLO, sha256_id(MUTATION): MUTATION, "count": COUNT}
ANSWER = {"data": {"hello": "Hello, Ann!"}}
VARIABLES = {"n": "Ann"}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "documents.json"
    path.write_text(json.dumps(LISTED))
    return path


@pytest.fixture
async def trusting(door: Door, listed: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(toy_app(door, documents="trusted", documents_path=listed)) as client:
        yield client


@pytest.fixture
async def server(door: Door, listed: Path) -> AsyncIterator[ToyServer]:
    async with serving(toy_app(door, documents="trusted", documents_path=listed)) as running:
        yield running


async def post(client: httpx.AsyncClient, method: str = "POST", **body: Any) -> httpx.Response:
    headers = {"accept": GRAPHQL_JSON}
    return await client.request(method, "/graphql", json=body, headers=headers)


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    [error] = response.json()["errors"]
    return response.status_code, error["extensions"]["code"], error["extensions"]["hint"]


def hashed(text: str) -> dict[str, Any]:
    digest = sha256_id(text).partition(":")[2]
    return {"persistedQuery": {"version": 1, "sha256Hash": digest}}


async def test_trusted_document_runs_by_id_hash_text_and_extension(
    trusting: httpx.AsyncClient,
) -> None:
    for request in (
        {"documentId": "hello"},
        {"documentId": sha256_id(HELLO)},
        {"documentId": "hello", "query": HELLO},
        {"query": HELLO},
        {"extensions": hashed(HELLO)},
        {"extensions": hashed(HELLO), "query": HELLO},
    ):
        for method in ("POST", "QUERY"):
            answer = await post(trusting, method, variables=VARIABLES, **request)
            assert answer.json() == ANSWER, request
    parameters = {"documentId": "hello", "variables": json.dumps(VARIABLES)}
    assert (await trusting.get("/graphql", params=parameters)).json() == ANSWER


async def test_trusted_mutation_by_id_is_refused_over_get(trusting: httpx.AsyncClient) -> None:
    parameters = {"documentId": sha256_id(MUTATION)}
    refused = await trusting.get("/graphql", params=parameters)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (await post(trusting, **parameters)).json() == {"data": {"signIn": "a"}}


async def test_unlisted_document_is_refused_with_hint(trusting: httpx.AsyncClient) -> None:
    introspection = "{ __schema { queryType { name } } }"
    for text in (UNLISTED, introspection, HELLO + " ", "{", ""):
        status, code, hint = error_of(await post(trusting, query=text))
        assert (status, code) == (403, "FORBIDDEN")
        assert "documentId" in hint
    for request in (
        {"documentId": "other"},
        {"documentId": "other", "query": HELLO},
        {"extensions": hashed(UNLISTED)},
        {"extensions": hashed(UNLISTED), "query": UNLISTED},
    ):
        status, code, hint = error_of(await post(trusting, **request))
        assert (status, code) == (422, "NOT_FOUND")
        assert "HOWDAH_DOCUMENTS_PATH" in hint
    assert error_of(await post(trusting))[:2] == (422, "BAD_USER_INPUT")


async def test_listed_document_with_another_text_is_refused(trusting: httpx.AsyncClient) -> None:
    status, code, _ = error_of(await post(trusting, documentId="hello", query=UNLISTED))
    assert (status, code) == (422, "BAD_USER_INPUT")


async def test_trusted_documents_govern_sockets(server: ToyServer) -> None:
    url = f"ws://{server.address}/graphql"
    async with websockets.connect(
        url, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S
    ) as socket:

        async def ask(**payload: Any) -> list[dict[str, Any]]:
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            messages: list[dict[str, Any]] = []
            while not messages or messages[-1]["type"] not in {"complete", "error"}:
                messages.append(msgspec.json.decode(await socket.recv()))
            return messages

        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        *counted, last = await ask(documentId="count")
        assert [message["payload"]["data"]["count"] for message in counted] == [1, 2]
        assert last["type"] == "complete"
        [refused] = await ask(query="subscription { count(to: 3) }")
        assert refused["payload"][0]["extensions"]["code"] == "FORBIDDEN"
        [unknown] = await ask(documentId="other")
        assert unknown["payload"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_trusted_documents_govern_event_streams(server: ToyServer) -> None:
    async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=PATIENCE_S) as client:
        stream = {"accept": "text/event-stream"}
        counted = await client.post("/graphql", json={"documentId": "count"}, headers=stream)
        assert counted.text.count("event: next") == 2
        refused = await client.post("/graphql", json={"query": UNLISTED}, headers=stream)
        assert "FORBIDDEN" in refused.text
        token = (await client.put("/graphql")).text
        named = {"x-graphql-event-stream-token": token}
        async with client.stream("GET", "/graphql", headers=stream | named) as results:
            lines = results.aiter_lines()
            body = {"query": UNLISTED, "extensions": {"operationId": "1"}}
            assert (await client.post("/graphql", json=body, headers=named)).status_code == 202
            async for line in lines:
                if line.startswith("data: "):
                    assert "FORBIDDEN" in line
                    break


async def test_documents_have_ids_where_any_document_runs(door: Door, listed: Path) -> None:
    async with calling(toy_app(door, documents_path=listed)) as client:
        assert (await post(client, documentId="hello", variables=VARIABLES)).json() == ANSWER
        assert (await post(client, query=UNLISTED)).json() == {"data": {"box": {"name": "box"}}}
        unknown = await post(client, documentId="other", query=UNLISTED)
        assert unknown.json() == {"data": {"box": {"name": "box"}}}
        assert error_of(await post(client, documentId="other"))[:2] == (422, "NOT_FOUND")
        known = await post(client, extensions=hashed(HELLO), variables=VARIABLES)
        assert known.json() == ANSWER


async def test_document_id_without_a_list_is_unknown(toy_client: httpx.AsyncClient) -> None:
    assert error_of(await post(toy_client, documentId="hello"))[:2] == (422, "NOT_FOUND")


async def test_graphiql_is_off_where_only_listed_documents_run(door: Door, listed: Path) -> None:
    browser = {"accept": "text/html"}
    for chosen, status in ({}, 404), ({"graphiql": True}, 200):
        app = toy_app(door, documents="trusted", documents_path=listed, **chosen)
        async with calling(app) as client:
            page = await client.get("/graphql", headers=browser)
            assert page.headers["content-type"].startswith("text/html") is (status == 200)


def test_trusted_documents_require_a_path() -> None:
    with pytest.raises(BadInput, match="HOWDAH_DOCUMENTS_PATH is not set"):
        load_settings({"HOWDAH_DOCUMENTS": "trusted", "HOWDAH_ENV": "production"})
    chosen = load_settings({"HOWDAH_DOCUMENTS_PATH": "~/lists", "HOWDAH_ENV": "production"})
    assert chosen.documents_path == Path("~/lists").expanduser()
