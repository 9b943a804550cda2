"""`splitStatements` in the API."""

from tests.fixtures.clients import Client

SPLIT = """query($script: String!) { splitStatements(script: $script) {
  index start end line column kind dataStart dataEnd } }"""


async def test_split_statements_returns_ranges(ada: Client) -> None:
    script = "SELECT 1;\n  COPY t FROM stdin;\n1\t2\n\\.\n"
    found = (await ada.ask(SPLIT, script=script))["splitStatements"]
    assert found == [
        {"index": 0, "start": 0, "end": 8, "line": 1, "column": 1, "kind": "SELECT"}
        | {"dataStart": None, "dataEnd": None},
        {"index": 1, "start": 12, "end": 29, "line": 2, "column": 3, "kind": "COPY"}
        | {"dataStart": 31, "dataEnd": 35},
    ]
    assert script[31:35] == "1\t2\n"


async def test_split_statements_names_the_psql_command(ada: Client) -> None:
    answer = await ada.send(SPLIT, script="SELECT 1;\n" * 3_000 + "\\dt+ public.*")
    assert answer.code == "BAD_USER_INPUT"
    assert answer.message == "Line 3001 has the psql command `\\dt+`."


async def test_split_statements_requires_a_user(anonymous: Client) -> None:
    assert (await anonymous.send(SPLIT, script="SELECT 1")).code == "UNAUTHENTICATED"
