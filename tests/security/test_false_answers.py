"""A server whose rows have other types than PostgreSQL gives them fails its own user clearly."""

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
    (16, b"t"),
    (701, b"NaN"),
    (1009, b"{NULL}"),
    (1009, b"{x}"),
    (114, b'{"a": 1}'),
    (114, b"{"),
    (1082, b"2026-01-01"),
    (17, b"\\x00"),
]
COLUMNS = 17
"""As many as the widest statement on the catalogue selects."""
OF_COLUMN = [*LIES[:2], (20, b"-1"), (1009, b"{NULL}")]

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
        collation comment }
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


def lies() -> dict[str, Falsify]:
    """Ways to falsify a row, each with a name for the failure of a test."""

    def everywhere(lie: Column) -> Falsify:
        return lambda row: [lie] * len(row)

    def in_column(lie: Column, number: int) -> Falsify:
        return lambda row: [lie if place == number else cell for place, cell in enumerate(row)]

    found: dict[str, Falsify] = {f"all {lie}": everywhere(lie) for lie in LIES}
    for number in range(COLUMNS):
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
    for name, falsify in lies().items():
        await ada.ask(REFRESH, id=saved)
        relay.falsify = falsify
        answer = await ada.send(CATALOGUE, id=saved)
        relay.falsify = None
        assert unexpected(answer) == [], name
        refused += any("in the form of PostgreSQL" in each["message"] for each in answer.errors)
    assert refused > COLUMNS
    await ada.ask(REFRESH, id=saved)
    assert await ada.ask(CATALOGUE, id=saved) == honest
