import pytest

from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import make_task


async def test_nodes_of_one_level_are_one_statement(ada: Client, statements: Statements) -> None:
    ids = [await make_task(ada, title=f"{number}") for number in range(20)]
    missing = f"task_{'0' * 32}"
    query = "query($ids: [ID!]!, $id: ID!) { nodes(ids: $ids) { id } task(id: $id) { id } }"
    with statements.expected(1):
        found = await ada.ask(query, ids=[*ids, missing], id=ids[0])
    assert [node and node["id"] for node in found["nodes"]] == [*ids, None]
    assert found["task"]["id"] == ids[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("task_xyz", "got an ID without 32"),
        (f"bucket_{'0' * 32}", "expected `task_…`, got `bucket_…`"),
        ("", "got another value"),
    ],
)
async def test_id_of_other_type_is_refused(ada: Client, asked: str, said: str) -> None:
    answer = await ada.send("query($id: ID!) { task(id: $id) { id } }", id=asked)
    assert answer.code == "BAD_USER_INPUT"
    assert said in answer.message


async def test_nodes_require_session_also_without_ids(anonymous: Client) -> None:
    assert (await anonymous.send("{ nodes(ids: []) { id } }")).code == "UNAUTHENTICATED"
