"""Every operation in the documentation is valid, and those of docs/connections.md work in order."""

import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, parse, print_ast, validate
from graphql.execution.values import get_variable_values

from graph.schema import schema
from tests.fixtures.clients import Client
from tests.fixtures.pages import Block, blocks_of
from tests.fixtures.targets import CANARY, Target

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in ROOT.glob("docs/**/*.md") if "node_modules" not in page.parts),
]
core: GraphQLSchema = schema._schema


def operations(page: Path) -> dict[str, str]:
    """The operations of a page by name, or by number if they have none."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```graphql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = [
        definition
        for block in blocks
        for definition in parse(block).definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    return {
        node.name.value if node.name else str(number): print_ast(node)
        for number, node in enumerate(found)
    }


WITH_OPERATIONS = [page for page in PAGES if operations(page)]


@pytest.mark.parametrize("page", WITH_OPERATIONS, ids=lambda page: page.name)
def test_documented_operations_are_valid(page: Path) -> None:
    for name, operation in operations(page).items():
        errors = validate(core, parse(operation))
        assert not errors, f"{name} of {page.name}: correct it there, or the schema: {errors}"


@pytest.mark.parametrize("page", WITH_OPERATIONS, ids=lambda page: page.name)
def test_documented_operations_have_variables(page: Path) -> None:
    """Each required variable is in the JSON after the block, and the schema accepts its value."""
    blocks = list(blocks_of(page.read_text(encoding="utf-8")))
    for block, after in pairwise([*blocks, Block("", "", "", 0, "")]):
        if block.language != "graphql":
            continue
        given = json.loads(after.text) if after.answers("json", "Variables") else {}
        for node in parse(block.text).definitions:
            if isinstance(node, OperationDefinitionNode):
                found = get_variable_values(core, node.variable_definitions or (), given)
                assert not isinstance(found, list), f"{page.name}:{block.line}: {found}"


def test_pages_with_operations_are_found() -> None:
    names = {page.name for page in WITH_OPERATIONS}
    assert names >= {"README.md", "tasks.md", "connections.md"}


@pytest.fixture
async def aardvarks(target: Target) -> AsyncIterator[None]:
    """The first table by name."""
    await target.script("CREATE TABLE public.aardvarks (id int)")
    yield
    await target.script("DROP TABLE public.aardvarks")


async def test_connections_page_operations_work(
    ada: Client, target: Target, aardvarks: None
) -> None:
    destination = {
        "host": "localhost",
        "port": target.port,
        "database": "postgres",
        "username": "ada",
        "password": CANARY,
    }
    variables: dict[str, dict[str, Any]] = {
        "Try": {"input": destination},
        "Save": {"input": destination | {"name": "Orders", "savePassword": True}},
        "Watch": {},
        "Keep": {"input": {"key": "editor/layout", "value": {"wide": True}}},
        "Kept": {},
    }
    for name, operation in operations(ROOT / "docs" / "connections.md").items():
        assert name in variables, f"add the variables of `{name}`, a new operation of this page"
        answer = await ada.send(operation, **variables[name])
        assert not answer.errors, (
            f"`{name}` fails: correct the page, or the variables here: {answer}"
        )
        if name == "Try":
            assert answer.data["testConnection"]["ok"], answer
        if name == "Save":
            saved = {"id": answer.data["saveConnection"]["connection"]["id"]}
            variables |= {
                "Open": {"input": saved},
                "Close": {"input": saved},
                "Schemas": saved,
                "Describe": saved | {"schemaName": "pg_catalog", "tableName": "pg_class"},
            }
        if name == "Schemas":
            (public,) = answer.data["connection"]["schemas"]["nodes"]
            variables["Tables"] = {"schemaId": public["id"]}
        if name == "Tables":
            table = answer.data["node"]["tables"]["nodes"][0]
            variables["Columns"] = {"tableId": table["id"]}
        if name == "Columns":
            assert [column["name"] for column in answer.data["node"]["columns"]] == ["id"]
