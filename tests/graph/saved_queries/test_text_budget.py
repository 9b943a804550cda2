"""What one operation reads of long texts is limited, however many lists it asks for."""

import pytest

from db.kit.lists import long_texts
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_saved_query
from tests.graph.saved_queries.test_saved_queries import save

TEXT = "-" * 3_000
FIT = 4
"""Texts that use up the budget; other lists may be under way with the last of them."""
MOST = FIT + long_texts.READS_AT_ONCE - 1


@pytest.fixture(autouse=True)
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_texts, "OPERATION_BYTES", 10_000)


@pytest.fixture
async def query_id(ada: Client) -> str:
    query_id = await make_saved_query(ada, text=TEXT)
    await save(ada, id=query_id, text=TEXT[1:])
    return query_id


@pytest.mark.parametrize(
    "field",
    [
        "savedQueries(first: 1) { nodes { text } }",
        'savedQuery(id: "ID") { versions(first: NUMBER) { nodes { text } } }',
        "exportSavedQueries",
    ],
)
async def test_long_texts_of_one_operation_are_limited(
    ada: Client, query_id: str, field: str
) -> None:
    def aliased(count: int) -> str:
        fields = (field.replace("NUMBER", str(number + 1)) for number in range(count))
        return f"{{ {' '.join(f'a{number}: {each}' for number, each in enumerate(fields))} }}"

    document = aliased(50).replace("ID", query_id)
    answer = await ada.send(document)
    assert {error["extensions"]["code"] for error in answer.errors} == {"TOO_LARGE"}
    assert FIT <= 50 - len(answer.errors) <= MOST
    assert (await ada.send(aliased(FIT).replace("ID", query_id))).code == "OK"


async def test_texts_that_are_not_selected_use_up_no_budget(ada: Client, query_id: str) -> None:
    pages = " ".join(
        f"a{number}: savedQueries(first: 1) {{ nodes {{ id }} }}" for number in range(50)
    )
    answer = await ada.ask(f"{{ {pages} }}")
    assert all(page == {"nodes": [{"id": query_id}]} for page in answer.values())
