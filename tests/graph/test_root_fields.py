"""The failure of one root field leaves the results of the others in the response."""

from sqlalchemy import text

from db.postgres.engine import Database
from db.postgres.statements import compile_change
from tests.fixtures.clients import Client

_BREAK = compile_change(text("ALTER TABLE preferences RENAME TO broken"))


async def test_query_answers_other_root_fields_when_one_fails(
    ada: Client, database: Database
) -> None:
    await database.write(lambda session: session.rows(_BREAK))
    answer = await ada.send(
        """{
          preferences { key }
          logDirectory
          tasks(first: 100000) { nodes { id } }
          activeConnections { poolSize }
          taskStats { total }
          viewer { name }
        }"""
    )
    assert answer.data == {
        "preferences": None,
        "logDirectory": None,
        "tasks": None,
        "activeConnections": [],
        "taskStats": {"total": 0},
        "viewer": {"name": "Ada"},
    }
    codes = {error["path"][0]: error["extensions"]["code"] for error in answer.errors}
    assert codes == {
        "preferences": "INTERNAL",
        "logDirectory": "FORBIDDEN",
        "tasks": "BAD_USER_INPUT",
    }


async def test_mutation_answers_committed_fields_when_another_fails(ada: Client) -> None:
    answer = await ada.send(
        """mutation {
          a: createTask(input: {title: "one"}) { task { title } }
          b: createTask(input: {title: ""}) { task { title } }
          c: createTask(input: {title: "three"}) { task { title } }
        }"""
    )
    titles = [answer.data[name] and answer.data[name]["task"]["title"] for name in "abc"]
    assert titles == ["one", None, "three"]
    assert [error["path"] for error in answer.errors] == [["b"]]
    assert (await ada.ask("{ taskStats { total } }"))["taskStats"]["total"] == 2
