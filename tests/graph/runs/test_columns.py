"""Columns and counts of a result in the API."""

from typing import Any

from sqlalchemy import text

from db.postgres.statements import compile_change
from db.services import Services
from graph.kit.ids import parse_id
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to, make_run
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { state error { message } columns { name type typeOid table nullable } } } }"""
EDITABLE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run {
  columns { schemaName tableName columnName isKey }
  editable { schemaName tableName keyColumns } } } }"""


async def test_columns_report_their_source(ada: Client, target: Target) -> None:
    connection = await make_connection_to(ada, target)
    statement = "SELECT oid, relname AS name, relacl, 1 AS one FROM pg_class LIMIT 1"
    values = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
    run = (await ada.ask(EXECUTE, input=values))["executeQuery"]["run"]
    assert (run["state"], run["error"]) == ("SUCCEEDED", None)
    shown = [tuple(column.values()) for column in run["columns"]]
    assert shown == [
        ("oid", "oid", 26, "pg_catalog.pg_class", False),
        ("name", "name", 19, "pg_catalog.pg_class", False),
        ("relacl", "aclitem[]", 1034, "pg_catalog.pg_class", True),
        ("one", "int4", 23, None, None),
    ]


async def test_run_names_the_table_that_can_be_edited(ada: Client, target: Target) -> None:
    connection = await make_connection_to(ada, target)

    async def run(statement: str) -> Any:
        values = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
        return (await ada.ask(EDITABLE, input=values))["executeQuery"]["run"]

    await run("CREATE TABLE edited (id int PRIMARY KEY, name text)")
    source = {"schemaName": "public", "tableName": "edited"}
    assert await run("SELECT name AS shown, id FROM edited") == {
        "columns": [
            source | {"columnName": "name", "isKey": False},
            source | {"columnName": "id", "isKey": True},
        ],
        "editable": source | {"keyColumns": ["id"]},
    }
    assert (await run("DROP TABLE edited"))["editable"] is None


LARGE = 5_000_000_000
COUNTS = """query($id: ID!) { queryRun(id: $id) {
  rowCount rowsAffected truncated { limit } columns { typeOid } } }"""
GROWN = compile_change(
    text(f"""UPDATE query_runs SET rows_affected = {LARGE}, row_count = {LARGE},
        truncated = '{{"reason": "MAX_ROWS", "limit": {LARGE}}}',
        columns = '[{{"name": "a", "type": "", "type_oid": 4294967295}}]'
        WHERE id = :id""")  # noqa: S608 - a constant of this module
)


async def test_row_counts_exceed_32_bits(ada: Client, services: Services) -> None:
    run = await make_run(ada)
    async with ada.follow(
        "subscription($id: ID!) { queryStatus(id: $id) { state } }", id=run
    ) as received:
        assert [one.data["queryStatus"]["state"] async for one in received][-1] == "FAILED"
    await services.database.write(lambda session: session.rows(GROWN, id=parse_id("run", run)))
    assert (await ada.ask(COUNTS, id=run))["queryRun"] == {
        "rowCount": LARGE,
        "rowsAffected": LARGE,
        "truncated": {"limit": LARGE},
        "columns": [{"typeOid": 2**32 - 1}],
    }
