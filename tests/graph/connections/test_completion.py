"""Search and completion over GraphQL, on the catalogue of a real server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.workbench.completion.completions import MAX_TEXT_CHARS
from db.workbench.completion.results import MAX_COMPLETIONS
from db.workbench.completion.service import SHORT_CHARS
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.targets import Target

SETUP = """
CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO ada;
CREATE TYPE shop.order_status AS ENUM ('pending', 'paid');
CREATE TABLE shop.orders (id bigint PRIMARY KEY, status shop.order_status, "placedOn" date);
COMMENT ON TABLE shop.orders IS 'Sold';
CREATE VIEW shop.recent_orders AS SELECT * FROM shop.orders;
CREATE TABLE shop.lines (order_number bigint);
CREATE SEQUENCE shop.serials;
CREATE FUNCTION shop.total_of(number bigint, digits int DEFAULT 2) RETURNS numeric
  LANGUAGE sql RETURN 1;
"""
COMPLETE = """query($id: ID!, $text: String!, $cursor: Int!, $first: Int) { connection(id: $id) {
  completions(text: $text, cursor: $cursor, first: $first) {
    kind label insertText detail replaceStart replaceEnd } } }"""
SEARCH = """query($id: ID!, $text: String!, $kinds: [SearchKind!]) { connection(id: $id) {
  search(text: $text, kinds: $kinds, first: 20) {
    kind schemaName name parentName detail comment
    node { __typename id } } } }"""
NODE = "query($id: ID!) { node(id: $id) { __typename } }"


@pytest.fixture
async def saved(ada: Client, target: Target) -> AsyncIterator[str]:
    await target.script(SETUP)
    yield await make_connection_to(ada, target)
    await target.script("DROP SCHEMA shop CASCADE")


async def complete(client: Client, saved: str, marked: str) -> Any:
    """`marked` has a `|` at the cursor."""
    cursor, text = marked.index("|"), marked.replace("|", "")
    found = await client.ask(COMPLETE, id=saved, text=text, cursor=cursor)
    return found["connection"]["completions"]


async def test_completions_know_the_catalogue_of_the_server(ada: Client, saved: str) -> None:
    found = await complete(ada, saved, "SELECT '😀', | FROM shop.orders o WHERE o.status = 'paid'")
    assert [each["label"] for each in found[:4]] == ["id", "status", "placedOn", "o"]
    assert found[2] == {
        "kind": "COLUMN",
        "label": "placedOn",
        "insertText": '"placedOn"',
        "detail": "date, o",
        "replaceStart": 12,
        "replaceEnd": 12,
    }
    labels = await complete(ada, saved, "SELECT * FROM shop.orders WHERE status = '|'")
    assert [each["label"] for each in labels] == ["pending", "paid"]
    assert [each["insertText"] for each in labels] == ["'pending'", "'paid'"]
    (function,) = await complete(ada, saved, "SELECT shop.to|")
    assert (function["label"], function["detail"]) == (
        "total_of(number bigint, digits integer DEFAULT 2)",
        "numeric",
    )
    (keyword,) = (await complete(ada, saved, "MERG|"))[:1]
    assert keyword["label"] == "MERGE INTO"


async def test_completions_of_a_long_text_equal_those_of_a_short_one(
    ada: Client, saved: str
) -> None:
    statement = "SELECT | FROM shop.orders"
    short = await complete(ada, saved, statement)
    long = await complete(ada, saved, "\n" * SHORT_CHARS + statement)
    assert [each["label"] for each in long] == [each["label"] for each in short]


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"cursor": 9}, "BAD_USER_INPUT", "cursor"),
        ({"cursor": -1}, "BAD_USER_INPUT", "cursor"),
        ({"first": 0}, "BAD_USER_INPUT", "first"),
        ({"first": MAX_COMPLETIONS + 1}, "BAD_USER_INPUT", "first"),
        ({"text": " " * (MAX_TEXT_CHARS + 1)}, "TOO_LARGE", "text"),
    ],
)
async def test_completions_refuse(
    ada: Client, saved: str, values: dict[str, Any], code: str, field: str
) -> None:
    given = {"id": saved, "text": "SELECT 1", "cursor": 0, "first": 5} | values
    answer = await ada.send(COMPLETE, **given)
    (error,) = answer.errors
    assert (error["extensions"]["code"], error["extensions"]["field"]) == (code, field)


async def search(client: Client, saved: str, text: str, *kinds: str) -> Any:
    found = await client.ask(SEARCH, id=saved, text=text, kinds=list(kinds) or None)
    return found["connection"]["search"]


async def test_search_finds_objects_of_all_kinds_with_their_nodes(ada: Client, saved: str) -> None:
    found = await search(ada, saved, "order")
    assert [(each["kind"], each["name"]) for each in found[:4]] == [
        ("TABLE", "orders"),
        ("COLUMN", "order_number"),
        ("TYPE", "order_status"),
        ("VIEW", "recent_orders"),
    ]
    assert found[0]["comment"] == "Sold"
    assert found[1]["parentName"] == "lines"
    assert found[2]["detail"] == "pending, paid"
    function, sequence, schema = [
        (await search(ada, saved, text, kind))[0]
        for text, kind in (("total_of", "FUNCTION"), ("serial", "SEQUENCE"), ("shop", "SCHEMA"))
    ]
    assert function["detail"] == "(number bigint, digits integer DEFAULT 2) numeric"
    for each in (*found[:4], function, sequence, schema):
        found_again = await ada.ask(NODE, id=each["node"]["id"])
        assert found_again["node"]["__typename"] == each["node"]["__typename"]
    assert [each["node"]["__typename"] for each in (*found[:4], function, sequence, schema)] == [
        *("DatabaseTable", "TableColumn", "DatabaseType", "DatabaseTable"),
        *("DatabaseFunction", "DatabaseSequence", "DatabaseSchema"),
    ]


async def test_search_and_completions_are_refused_to_other_users(
    ada: Client, bob: Client, saved: str
) -> None:
    assert (await bob.ask(SEARCH, id=saved, text="order"))["connection"] is None
