"""Automatic persisted queries with Apollo's protocol."""

import json
from hashlib import sha256
from typing import Any, cast

import httpx
import pytest

from db.errors import TooLarge
from graph.context import Context
from graph.operations import GraphQLRequest, Operations, Plans, Refused
from graph.operations.limits import RequestLimits
from graph.operations.persisted_documents import PersistedDocuments, PersistedQueryNotFound
from graph.transport.http.accept import GRAPHQL_JSON
from tests.fixtures.toy import schema

HELLO = "query($n: String) { hello(name: $n) }"
ANSWER = {"data": {"hello": "Hello, Ann!"}}


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def extension(text: str, **changes: Any) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hash_of(text)} | changes}


async def post(
    client: httpx.AsyncClient, accept: str = "application/json", **body: Any
) -> httpx.Response:
    return await client.post("/graphql", json=body, headers={"accept": accept})


async def get(client: httpx.AsyncClient, **parameters: Any) -> httpx.Response:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in parameters.items()
    }
    return await client.get("/graphql", params=texts)


def code_of(response: httpx.Response) -> str:
    error = response.json()["errors"][0]
    assert error["extensions"]["hint"]
    return str(error["extensions"]["code"])


async def test_persisted_query_is_registered_and_found(toy_client: httpx.AsyncClient) -> None:
    asked: dict[str, Any] = {"extensions": extension(HELLO), "variables": {"n": "Ann"}}
    unknown = await post(toy_client, **asked)
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert code_of(unknown) == "PERSISTED_QUERY_NOT_FOUND"
    assert (await post(toy_client, query=HELLO, **asked)).json() == ANSWER
    assert (await post(toy_client, **asked)).json() == ANSWER
    assert (await post(toy_client, query=None, **asked)).json() == ANSWER
    assert (await get(toy_client, **asked)).json() == ANSWER


@pytest.mark.parametrize("accept", ["application/json", GRAPHQL_JSON])
async def test_persisted_query_unknown_hash_is_refused_before_execution(
    toy_client: httpx.AsyncClient, accept: str
) -> None:
    assert (await post(toy_client, accept, extensions=extension(HELLO))).status_code == 422


async def test_persisted_mutation_is_refused_over_get(toy_client: httpx.AsyncClient) -> None:
    mutation = 'mutation { signIn(email: "a") }'
    asked: dict[str, Any] = {"extensions": extension(mutation)}
    assert (await post(toy_client, query=mutation, **asked)).json() == {"data": {"signIn": "a"}}
    assert (await get(toy_client, **asked)).status_code == 405


async def test_persisted_query_with_wrong_hash_is_refused(
    toy_client: httpx.AsyncClient,
) -> None:
    asked: dict[str, Any] = {"extensions": extension("{ name }"), "variables": {"n": "Ann"}}
    refused = await post(toy_client, query=HELLO, **asked)
    assert code_of(refused) == "BAD_USER_INPUT"
    assert "data" not in refused.json()
    assert code_of(await post(toy_client, **asked)) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    "wrong",
    [
        extension(HELLO, version=2),
        extension(HELLO, sha256Hash="ABC"),
        extension(HELLO, sha256Hash=None),
        {"persistedQuery": "abc"},
        {"persistedQuery": None},
    ],
)
async def test_persisted_query_extension_is_validated(
    toy_client: httpx.AsyncClient, wrong: dict[str, Any]
) -> None:
    for response in (
        await post(toy_client, extensions=wrong),
        await post(toy_client, query=HELLO, extensions=wrong),
        await get(toy_client, extensions=wrong),
    ):
        assert code_of(response) == "BAD_USER_INPUT"


async def test_document_is_required_without_hash(toy_client: httpx.AsyncClient) -> None:
    for extensions in ({}, {"other": 1}, None):
        assert (await post(toy_client, extensions=extensions)).status_code == 422
        assert (await get(toy_client, extensions=extensions or {})).status_code == 422
    assert (await post(toy_client, query=7, extensions=extension(HELLO))).status_code == 422
    answered = await post(toy_client, query="{ hello }", extensions={"other": 1})
    assert answered.json() == {"data": {"hello": "Hello, you!"}}


def kept(documents: PersistedDocuments, text: str) -> bool:
    asked = GraphQLRequest("", extensions=extension(text))
    try:
        return documents.text_of(asked, hash_of(text)) == text
    except Refused as refused:
        if not isinstance(refused.errors[0], PersistedQueryNotFound):
            raise
        return False


def test_persisted_documents_evict_least_recently_used() -> None:
    ours = PersistedDocuments(characters=40)
    first, second, third = (f"{{ {name}: hello }} ".ljust(20) for name in "abc")
    for text in (first, second, first):
        ours.keep(hash_of(text), text)
    assert kept(ours, first)
    ours.keep(hash_of(third), third)
    assert [kept(ours, text) for text in (first, second, third)] == [True, False, True]
    longer_than_the_room = "{ hello } #" + "x" * 100
    ours.keep(hash_of(longer_than_the_room), longer_than_the_room)
    assert not kept(ours, first)
    assert ours._room == 40


@pytest.mark.parametrize("text", ["{ a: hello b: hello }", "{ nothing }", "{"])
async def test_persisted_documents_exclude_refused_ones(text: str) -> None:
    plans = Plans(
        schema._schema, limits=RequestLimits(aliases=1), introspection=True, suggestions=False
    )
    operations = Operations(plans, limits=RequestLimits())
    stranger = Context(services=cast("Any", None), viewer=None, request_id="r")
    with pytest.raises(Refused) as caught:
        await operations.prepare(GraphQLRequest(text, extensions=extension(text)), stranger)
    if "hello" in text:
        assert isinstance(caught.value.errors[0], TooLarge)
    with pytest.raises(Refused) as caught:
        await operations.prepare(GraphQLRequest("", extensions=extension(text)), stranger)
    assert isinstance(caught.value.errors[0], PersistedQueryNotFound)
