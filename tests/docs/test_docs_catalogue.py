"""The operations of docs/catalogue.md work on a real database."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.docs.test_docs_operations import operations
from tests.fixtures.architecture import ROOT
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.targets import Target

NAMES = {"schemaName": "depot", "tableName": "orders", "columnName": "id"}


@pytest.fixture
async def saved(ada: Client, target: Target) -> AsyncIterator[str]:
    await target.script(
        "CREATE SCHEMA depot; CREATE TABLE depot.orders (id bigserial PRIMARY KEY);"
        "CREATE TYPE depot.mood AS ENUM ('sad', 'happy'); GRANT USAGE ON SCHEMA depot TO ada"
    )
    yield await make_connection_to(ada, target)
    await target.script("DROP SCHEMA depot CASCADE")


async def test_catalogue_page_operations_work(ada: Client, saved: str) -> None:
    variables: dict[str, dict[str, Any]] = {
        "Table": {"id": saved, "schemaName": "depot", "tableName": "orders"},
        "Schema": {"id": saved, "name": "depot"},
        "Named": {"id": saved, **NAMES},
        "Refresh": {"input": {"connectionId": saved}},
    }
    found = operations(ROOT / "docs" / "catalogue.md")
    assert found.keys() == variables.keys()
    for name, operation in found.items():
        answer = await ada.send(operation, **variables[name])
        assert not answer.errors, f"`{name}` fails: correct the page, or the variables: {answer}"
        if name == "Named":
            schema = answer.data["connection"]["schema"]
            assert schema["table"]["column"]["type"] == "bigint"
            assert schema["type"]["labels"] == ["sad", "happy"]
            assert schema["index"]["id"]
            assert schema["sequence"]["id"]
