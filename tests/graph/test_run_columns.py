"""What a frontend learns of a result's columns."""

from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection
from tests.fixtures.targets import CANARY, Target

EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { state error { message } columns { name type typeOid table nullable } } } }"""


async def test_columns_tell_where_they_come_from(ada: Client, target: Target) -> None:
    connection = await make_connection(
        ada,
        host="localhost",
        port=target.port,
        username="ada",
        password=CANARY,
        savePassword=True,
        database="postgres",
    )
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
