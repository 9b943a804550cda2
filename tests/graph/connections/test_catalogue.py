"""The catalogue of a connected database, over GraphQL."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from db.workbench.catalogue import CatalogueReader
from graph.kit.ids import NameKey, named_id, parse_id
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection, make_connection_to
from tests.fixtures.targets import Target

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
  schemas(first: 50, includeSystem: true) { totalCount nodes { id name comment
    tables(first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
      id schemaName name kind comment rowEstimate
      columns { name position type nullable default isPrimaryKey references comment } } } } } } }"""


@pytest.fixture
async def shop(target: Target) -> AsyncIterator[None]:
    await target.script(SETUP)
    yield
    await target.script('DROP SCHEMA shop CASCADE; DROP SCHEMA "Other""s" CASCADE')


@pytest.fixture
async def saved(ada: Client, target: Target, shop: None) -> str:
    return await make_connection_to(ada, target)


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


async def test_refused_catalogue_is_an_error_with_what_postgresql_reported(
    ada: Client, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = CatalogueReader._fetch

    async def refuse(reader: CatalogueReader, row_id: UUID, _: str, *more: Any) -> Any:
        return await fetch(reader, row_id, "SELECT 1 / 0", [], *more[1:])

    monkeypatch.setattr(CatalogueReader, "_fetch", refuse)
    answer = await ada.send(LOOK, id=saved, first=50, after=None)
    [error] = answer.errors
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["extensions"]["postgres"] == {
        "sqlstate": "22012",
        "severity": "ERROR",
        "detail": None,
        "hint": None,
    }


async def test_catalogue_runs_one_statement_per_level(
    ada: Client, saved: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    fetch = CatalogueReader._fetch

    async def count_and_fetch(reader: CatalogueReader, row_id: UUID, sql: str, *more: Any) -> Any:
        sent.append(sql)
        return await fetch(reader, row_id, sql, *more)

    monkeypatch.setattr(CatalogueReader, "_fetch", count_and_fetch)
    document = LOOK.replace("totalCount", "__typename")
    await ada.ask(document, id=saved, first=50, after=None)
    assert len(sent) == 3


async def test_catalogue_times_out_when_it_is_locked(
    ada: Client, saved: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with target._as_superuser() as connection, connection.transaction():
        await connection.execute("LOCK TABLE pg_catalog.pg_description IN ACCESS EXCLUSIVE MODE")
        with monkeypatch.context() as patch:
            patch.setattr("db.workbench.catalogue.reader.TIMEOUT_S", 0.2)
            answer = await ada.send(LOOK, id=saved, first=5)
        assert answer.code == "TIMEOUT"
    assert await look(ada, saved)


async def test_schemas_report_the_error_of_an_unreachable_database(ada: Client) -> None:
    dead = await make_connection(ada)
    answer = await ada.send(LOOK, id=dead, first=5)
    assert answer.code == "UNAVAILABLE"
    assert answer.data == {"connection": {"schemas": None}}


async def test_schemas_leave_out_system_schemas_by_default(ada: Client, saved: str) -> None:
    found = await ada.ask(
        "query($id: ID!) { connection(id: $id) { schemas(first: 50) "
        "{ totalCount nodes { name } } } }",
        id=saved,
    )
    schemas = found["connection"]["schemas"]
    assert [schema["name"] for schema in schemas["nodes"]] == ['Other"s', "public", "shop"]
    assert schemas["totalCount"] == 3


BY_NAME = """query($id: ID!, $schema: String!, $table: String!) { connection(id: $id) {
  schema(name: $schema) { name table(name: $table) { id name } }
  table(schemaName: $schema, tableName: $table) { id schemaName name columns { name } } } }"""


async def test_schema_and_table_are_found_by_name(ada: Client, saved: str) -> None:
    async def find(schema: str, table: str) -> Any:
        return (await ada.ask(BY_NAME, id=saved, schema=schema, table=table))["connection"]

    found = await find("shop", "customers")
    table = found["table"]
    assert found["schema"] == {"name": "shop", "table": {"id": table["id"], "name": "customers"}}
    assert (table["schemaName"], table["columns"]) == ("shop", [{"name": "id"}, {"name": "name"}])
    assert (await find("pg_catalog", "pg_class"))["table"]["name"] == "pg_class"
    for schema, name in (("shop", "no"), ("no", "orders"), ("Shop", "orders"), ("a\0b", "\0")):
        assert (await find(schema, name))["table"] is None
    assert (await find("no", "orders"))["schema"] is None


NODE = """query($ids: [ID!]!) { nodes(ids: $ids) { id
  ... on DatabaseSchema { name tables(first: 2, after: "%s") { nodes { name } } }
  ... on DatabaseTable { schemaName name columns { name } } } }"""


async def test_schemas_and_tables_are_nodes(ada: Client, saved: str) -> None:
    shop = (await look(ada, saved, first=2))["shop"]
    table = shop["tables"]["nodes"][0]
    document = NODE % shop["tables"]["pageInfo"]["endCursor"]
    gone = named_id("table", NameKey(parse_id("conn", saved), ("shop", "gone")))
    found = await ada.ask(document, ids=[table["id"], shop["id"], gone])
    assert found["nodes"] == [
        {
            "id": table["id"],
            "schemaName": "shop",
            "name": "customers",
            "columns": [{"name": "id"}, {"name": "name"}],
        },
        {
            "id": shop["id"],
            "name": "shop",
            "tables": {"nodes": [{"name": "orders"}, {"name": "recent"}]},
        },
        None,
    ]


async def test_node_of_unreachable_database_leaves_other_nodes(ada: Client, saved: str) -> None:
    shop = (await look(ada, saved))["shop"]
    dead = await make_connection(ada)
    unreachable = shop["id"].replace(saved.removeprefix("conn_"), dead.removeprefix("conn_"))
    answer = await ada.send(NODE % "", ids=[unreachable, dead, saved])
    assert answer.code == "UNAVAILABLE"
    assert answer.errors[0]["path"] == ["nodes", 0]
    assert answer.data == {"nodes": [None, {"id": dead}, {"id": saved}]}
    alone = await ada.send(
        "query($id: ID!) { node(id: $id) { id } viewer { name } }", id=unreachable
    )
    assert alone.code == "UNAVAILABLE"
    assert alone.data == {"node": None, "viewer": {"name": "Ada"}}


async def test_catalogue_of_unreachable_database_does_not_fail_others(
    ada: Client, saved: str
) -> None:
    await make_connection(ada)
    answer = await ada.send(
        """{ connections(first: 9) { nodes { schemas(first: 9) { nodes { name
          tables(first: 1) { nodes { columns { name } } } } } } } }"""
    )
    assert answer.code == "UNAVAILABLE"
    shown = [node["schemas"] is not None for node in answer.data["connections"]["nodes"]]
    assert sorted(shown) == [False, True]


FULL = """query($id: ID!, $first: Int!) { connection(id: $id) { schemas(first: 100) { nodes {
  id name comment tables(first: $first) { pageInfo { endCursor hasNextPage } nodes {
    id name kind comment rowEstimate
    columns { name position type nullable default isPrimaryKey references comment } } } } } } }"""


async def test_full_pages_of_a_small_database_are_allowed(ada: Client, saved: str) -> None:
    found = await ada.ask(FULL, id=saved, first=500)
    tables = {
        schema["name"]: len(schema["tables"]["nodes"])
        for schema in found["connection"]["schemas"]["nodes"]
    }
    assert tables.keys() == {'Other"s', "public", "shop"}
    assert (tables['Other"s'], tables["shop"]) == (0, 5)  # other tests use `public`


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("db.workbench.catalogue.reader.MAX_COLUMNS", "more than 50,000 columns"),
        ("graph.kit.loaded_rows.MAX_ROWS", "more than 4 rows"),
    ],
)
async def test_full_pages_of_a_large_database_are_refused_once(
    ada: Client, saved: str, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(limit, 4)  # the schemas are 3 rows
    answer = await ada.send(FULL, id=saved, first=400)
    (error,) = answer.errors
    assert message in error["message"]
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert error["extensions"]["hint"].startswith(
        "Lower `first` of `tables` (400, from `$first`) or `first` of `schemas` (100)"
    )
    assert answer.data is None


async def test_statement_reads_pages_of_a_part_of_the_schemas(
    ada: Client, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await look(ada, saved)
    monkeypatch.setattr("graph.kit.loaded_rows.MAX_ROWS_AT_ONCE", 100)
    assert await look(ada, saved) == whole
