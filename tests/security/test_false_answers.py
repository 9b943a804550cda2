"""A server whose rows have other types than PostgreSQL gives them fails its own user clearly."""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fixtures.clients import Client, Response
from tests.fixtures.factories import make_connection
from tests.fixtures.lying_relay import Column, Falsify, LyingRelay
from tests.fixtures.targets import Target
from tests.graph.connections.test_catalogue_objects import SETUP

NULL: Column = (25, None)
LIES: list[Column] = [
    NULL,
    (25, b"x"),
    (25, b""),
    (20, b"7"),
    (20, b"-1"),
    (20, b"9" * 30),
    (23, b"9" * 30),
    (25, b"x" * 1_000),
    (16, b"t"),
    (701, b"NaN"),
    (1009, b"{NULL}"),
    (1009, b"{x}"),
    (114, b'{"a": 1}'),
    (114, b"{"),
    (114, b"[" * 10_000),
    (25, b'{"x":' + b"[" * 10_000),
    (1009, b"{" * 10_000),
    (1082, b"2026-01-01"),
    (17, b"\\x00"),
    (20, b"x"),
    (701, b"x"),
    (701, b"1,2"),
    (701, b"[1]"),
    (1700, b"x"),
    (1009, b"{"),
    (2950, b"x"),
]
COLUMNS = 17
"""As many as the widest statement on the catalogue selects."""
OF_RUNS = 8
OF_COLUMN: list[Column] = [NULL, (20, b"-1"), (1009, b"{NULL}")]

CATALOGUE = """query($id: ID!) { connection(id: $id) {
  readOnlyRisks { kind name }
  extensions(first: 9) { totalCount nodes { id name version comment } }
  schemas(first: 5) { totalCount pageInfo { endCursor } nodes { id name owner privileges comment } }
  search(text: "crate", first: 20) { kind name detail comment node { id } }
  completions(text: "SELECT * FROM depot.", cursor: 20) { kind label insertText detail }
  columns: completions(text: "SELECT  FROM depot.crates", cursor: 7) { label detail }
  schema(name: "depot") { id
    tables(first: 50) { totalCount edges { cursor } nodes {
      id kind comment rowEstimate sizeBytes owner hasRowSecurity partitionKey partitionBound
      partitionOf { name } query privileges definition
      columns { id name position type nullable default isPrimaryKey references identity generated
        collation comment definition }
      indexes { id name method columns includedColumns predicate isUnique isValid sizeBytes }
      constraints { id kind columns clause referencedColumns onUpdate onDelete
        referencedTable { id } }
      foreignKeys { name } referencedBy { name }
      triggers { id timing events columns firing function { name } definition }
      policies { id command roles using check definition }
      partitions(first: 5) { nodes { name partitionBound } } } }
    functions(first: 50) { totalCount nodes { id signature kind arguments result language
      volatility isStrict owner privileges definition } }
    types(first: 50) { nodes { id kind labels baseType default checks subtype
      attributes { name } definition } }
    sequences(first: 50) { nodes { id dataType startValue increment lastValue cacheSize
      table { name } definition } } } } }"""
REFRESH = """mutation($id: ID!) { refreshCatalogue(input: {connectionId: $id}) {
  connection { id } } }"""


DISCONNECT = "mutation($id: ID!) { disconnect(input: {id: $id}) { connection { id } } }"


@pytest.fixture
async def relay(target: Target) -> AsyncIterator[LyingRelay]:
    await target.script(SETUP)
    async with LyingRelay.opened("127.0.0.1", target.port) as relay:
        yield relay
    await target.script("DROP SCHEMA depot CASCADE")


@pytest.fixture
async def saved(ada: Client, target: Target, relay: LyingRelay) -> str:
    fields = target.connection(savePassword=True) | {
        "host": "127.0.0.1",
        "port": relay.port,
        "sslMode": "DISABLE",
    }
    return await make_connection(ada, **fields)


def lies(columns: int) -> dict[str, Falsify]:
    """Ways to falsify a row, each with a name for the failure of a test."""

    def everywhere(lie: Column) -> Falsify:
        return lambda row: [lie] * len(row)

    def in_column(lie: Column, number: int) -> Falsify:
        return lambda row: [lie if place == number else cell for place, cell in enumerate(row)]

    found: dict[str, Falsify] = {f"all {lie}": everywhere(lie) for lie in LIES}
    for number in range(columns):
        found |= {f"column {number} {lie}": in_column(lie, number) for lie in OF_COLUMN}
    return found | {
        "no column": lambda _: [],
        "one column": lambda row: row[:1],
        "one column more": lambda row: [*row, (25, b"x")],
        "columns in reverse": lambda row: row[::-1],
    }


def unexpected(answer: Response) -> list[Any]:
    return [each for each in answer.errors if each["extensions"]["code"] == "INTERNAL"]


async def test_rows_of_wrong_types_are_an_error_of_the_database(
    ada: Client, saved: str, relay: LyingRelay
) -> None:
    honest = await ada.ask(CATALOGUE, id=saved)
    refused = 0
    for name, falsify in lies(COLUMNS).items():
        await ada.ask(REFRESH, id=saved)
        relay.falsify = falsify
        answer = await ada.send(CATALOGUE, id=saved)
        relay.falsify = None
        assert unexpected(answer) == [], name
        refused += any("in the form of PostgreSQL" in each["message"] for each in answer.errors)
    assert refused > COLUMNS
    await ada.ask(REFRESH, id=saved)
    assert await ada.ask(CATALOGUE, id=saved) == honest


async def test_work_on_a_server_with_false_answers_fails_without_an_internal_error(
    ada: Client, saved: str, relay: LyingRelay, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections, runs, plans, changes, sessions: each reads rows of statements of our own."""
    place = {"connectionId": saved}
    failures = Counter[str]()
    requests: dict[str, dict[str, Any]] = {
        "testConnection(input: $input) { ok error { code message } }": {
            "id": saved,
        },
        """executeQuery(input: $input) { run { state error { message }
             columns { name type table nullable isKey } rows(first: 5) { rows } } }""": {
            **place,
            "statement": "SELECT * FROM depot.crates",
            "readOnly": True,
            "waitMs": 30_000,
        },
        "explainQuery(input: $input) { plan { text } error { message } }": {
            **place,
            "statement": "SELECT * FROM depot.crates",
        },
        "changeRows(input: $input) { rows error { message } }": {
            **place,
            "schemaName": "depot",
            "tableName": "crates",
            "changes": [{"kind": "INSERT", "values": {"code": "new"}}],
        },
        "openSession(input: $input) { session { id state } }": place,
    }
    for name, falsify in lies(OF_RUNS).items():
        await ada.ask(DISCONNECT, id=saved)
        relay.falsify = falsify
        for field, given in requests.items():
            kind = field[0].upper() + field[1:].partition("(")[0]
            document = f"mutation($input: {kind}Input!) {{ {field} }}"
            answer = await ada.send(document, input=given)
            assert unexpected(answer) == [], (name, kind)
            failures[kind] += "not those of PostgreSQL" in str(answer.data)
        relay.falsify = None
    assert failures["ExecuteQuery"]
    assert failures["ChangeRows"]
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
