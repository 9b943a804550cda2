"""The catalogue of a connected database, over GraphQL."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from db.workbench.catalogue import CatalogueReader
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection
from tests.fixtures.targets import CANARY, Target

SETUP = """
CREATE SCHEMA shop; CREATE SCHEMA "Other""s"; GRANT USAGE ON SCHEMA shop TO ada;
COMMENT ON SCHEMA shop IS 'What is sold';
CREATE TABLE shop.customers (id bigint PRIMARY KEY, name varchar(80) NOT NULL DEFAULT 'nobody');
CREATE TABLE shop.orders (
  region text, number int, customer bigint REFERENCES shop.customers, paid numeric(10,2)[],
  gone int, PRIMARY KEY (region, number));
ALTER TABLE shop.orders DROP COLUMN gone;
COMMENT ON TABLE shop.orders IS 'Sold'; COMMENT ON COLUMN shop.orders.paid IS 'In parts';
INSERT INTO shop.customers SELECT n FROM generate_series(1, 1000) AS n; ANALYZE shop.customers;
CREATE VIEW shop.recent AS SELECT * FROM shop.orders;
CREATE MATERIALIZED VIEW shop.totals AS SELECT count(*) FROM shop.orders;
CREATE TABLE shop.log (at timestamptz) PARTITION BY RANGE (at);
"""
LOOK = """query($id: ID!, $first: Int!, $after: String) { connection(id: $id) {
  schemas(first: 50) { totalCount nodes { name comment
    tables(first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
      name kind comment rowEstimate
      columns { name position type nullable default isPrimaryKey references comment } } } } } } }"""


@pytest.fixture
async def shop(target: Target) -> AsyncIterator[None]:
    await target.script(SETUP)
    yield
    await target.script('DROP SCHEMA shop CASCADE; DROP SCHEMA "Other""s" CASCADE')


@pytest.fixture
async def saved(ada: Client, target: Target, shop: None) -> str:
    return await make_connection(
        ada,
        host="localhost",
        port=target.port,
        database="postgres",
        username="ada",
        password=CANARY,
        savePassword=True,
    )


async def look(client: Client, saved: str, first: int = 50, after: str | None = None) -> Any:
    found = await client.ask(LOOK, id=saved, first=first, after=after)
    return {schema["name"]: schema for schema in found["connection"]["schemas"]["nodes"]}


async def test_catalogue_returns_schemas_tables_and_columns(ada: Client, saved: str) -> None:
    schemas = await look(ada, saved)
    assert set(schemas) == {'Other"s', "information_schema", "pg_catalog", "public", "shop"}
    shop = schemas["shop"]
    assert shop["comment"] == "What is sold"
    assert shop["tables"]["totalCount"] == 5
    tables = {table["name"]: table for table in shop["tables"]["nodes"]}
    assert {name: table["kind"] for name, table in tables.items()} == {
        "customers": "TABLE",
        "log": "PARTITIONED_TABLE",
        "orders": "TABLE",
        "recent": "VIEW",
        "totals": "MATERIALIZED_VIEW",
    }
    assert tables["orders"]["comment"] == "Sold"
    assert tables["orders"]["rowEstimate"] is None
    assert tables["customers"]["rowEstimate"] == "1000"
    assert [tuple(column.values()) for column in tables["orders"]["columns"]] == [
        ("region", 1, "text", False, None, True, None, None),
        ("number", 2, "integer", False, None, True, None, None),
        ("customer", 3, "bigint", True, None, False, "shop.customers", None),
        ("paid", 4, "numeric(10,2)[]", True, None, False, None, "In parts"),
    ]
    name = tables["customers"]["columns"][1]
    assert (name["type"], name["default"]) == (
        "character varying(80)",
        "'nobody'::character varying",
    )


async def test_tables_page_forward_by_cursor(ada: Client, saved: str) -> None:
    names: list[str] = []
    after = None
    while True:
        tables = (await look(ada, saved, first=2, after=after))["shop"]["tables"]
        names += [table["name"] for table in tables["nodes"]]
        if not tables["pageInfo"]["hasNextPage"]:
            break
        after = tables["pageInfo"]["endCursor"]
    assert names == ["customers", "log", "orders", "recent", "totals"]


async def test_schemas_page_backward_with_last(ada: Client, saved: str) -> None:
    found = await ada.ask(
        "query($id: ID!) { connection(id: $id) { schemas(last: 2) "
        "{ nodes { name } pageInfo { hasPreviousPage } } } }",
        id=saved,
    )
    schemas = found["connection"]["schemas"]
    assert [schema["name"] for schema in schemas["nodes"]] == ["public", "shop"]
    assert schemas["pageInfo"]["hasPreviousPage"]


async def test_catalogue_runs_one_statement_per_level(
    ada: Client, saved: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    fetch = CatalogueReader._fetch

    async def count_and_fetch(reader: CatalogueReader, row_id: UUID, sql: str, values: Any) -> Any:
        sent.append(sql)
        return await fetch(reader, row_id, sql, values)

    monkeypatch.setattr(CatalogueReader, "_fetch", count_and_fetch)
    document = LOOK.replace("totalCount", "__typename")
    await ada.ask(document, id=saved, first=50, after=None)
    assert len(sent) == 3


async def test_catalogue_times_out_when_it_is_locked(
    ada: Client, saved: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.workbench.catalogue.reader.TIMEOUT_S", 0.2)
    async with target._as_superuser() as connection, connection.transaction():
        await connection.execute("LOCK TABLE pg_catalog.pg_description IN ACCESS EXCLUSIVE MODE")
        answer = await ada.send(LOOK, id=saved, first=5)
        assert answer.code == "TIMEOUT"
    assert await look(ada, saved)


async def test_schemas_report_the_error_of_an_unreachable_database(ada: Client) -> None:
    dead = await make_connection(ada)
    answer = await ada.send(LOOK, id=dead, first=5)
    assert answer.code == "UNAVAILABLE"
    assert answer.data == {"connection": {"schemas": None}}
