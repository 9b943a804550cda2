"""The number of statements of a query does not depend on the number of rows. Cases from the schema.

A new type of node needs a factory in tests/fixtures/factories.py, and nothing here.
"""

from typing import Any

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type, is_required_argument

from graph.kit.ids import _by_prefix
from graph.kit.loaders import BatchLoader
from graph.schema import schema
from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import FACTORIES, IN_TARGET, SHARED

core: Any = schema._schema
LEFT_OUT = {
    **dict.fromkeys(IN_TARGET, "each connection is looked up before its database is read"),
    "run": "a run sends statements of its own while it is read",
    "signin": "each client has one",
    "user": "each viewer sees one",
}
"""Prefixes of IDs, with the reason."""

ELSEWHERE = {
    "DatabaseConnection.extensions",
    "DatabaseConnection.readOnlyRisks",
    "DatabaseConnection.schemas",
}
"""Fields that read the user's own database."""

FEW, MANY = 2, 5


def selected(kind: Any, *, deep: bool = True) -> str:
    """All fields of a type, and the leaves of the objects in them."""
    if not hasattr(kind, "fields"):
        return "{ __typename }"
    parts = []
    for name, field in kind.fields.items():
        named = get_named_type(field.type)
        if f"{kind.name}.{name}" in ELSEWHERE:
            continue
        if any(map(is_required_argument, field.args.values())):
            continue
        if is_leaf_type(named):
            parts.append(name)
        elif "edges" in getattr(named, "fields", {}):
            parts.append(f"{name}(first: 1) {{ nodes {{ __typename }} totalCount }}")
        elif deep:
            parts.append(f"{name} {selected(named, deep=False)}")
    return f"{{ {' '.join(parts) or '__typename'} }}"


def node_types() -> dict[str, GraphQLObjectType]:
    """The types of nodes, by the prefix of their IDs."""
    rows = {registered.row: prefix for prefix, registered in _by_prefix.items()}
    kinds = core.get_possible_types(core.type_map["Node"])
    return {prefix: kind for kind in kinds for row, prefix in rows.items() if is_of(kind, row)}


def is_of(kind: GraphQLObjectType, row: type) -> bool:
    """Whether the type is registered for the row: `node` encloses the row in `is_type_of`."""
    is_type_of: Any = kind.extensions["strawberry-definition"].origin.is_type_of
    return any(cell.cell_contents is row for cell in is_type_of.__closure__)


NODES = node_types()


async def statements_of(client: Client, statements: Statements, prefix: str, ids: list[str]) -> int:
    kind = NODES[prefix]
    document = (
        "query($ids: [ID!]!) { nodes(ids: $ids) { ... on %s %s } }" % (kind.name, selected(kind))  # noqa: UP031 - braces
    )
    before = len(statements)
    answer = await client.send(document, ids=ids)
    assert not answer.errors, f"{document}: {answer.errors}"
    return len(statements) - before


def test_every_node_type_has_a_factory() -> None:
    assert NODES.keys() == _by_prefix.keys()
    made = FACTORIES.keys() | IN_TARGET.keys()
    missing = [f"add a factory for `{prefix}_…` IDs" for prefix in NODES.keys() - made]
    assert not missing, f"{missing} in tests/fixtures/factories.py"


async def uneven(client: Client, statements: Statements, prefix: str, ids: list[str]) -> str:
    """The statements, if their number depends on the number of objects."""
    await statements_of(client, statements, prefix, ids[:1])  # the first also verifies the token
    few = await statements_of(client, statements, prefix, ids[:FEW])
    many = await statements_of(client, statements, prefix, ids[FEW:])
    if few == many:
        return ""
    return (
        f"{few} statements for {FEW} objects, {many} for {len(ids) - FEW}: load what a field needs "
        "with a loader (graph/kit/loaders.py):\n" + "\n".join(statements[-many:])
    )


@pytest.mark.parametrize("prefix", sorted(NODES.keys() - LEFT_OUT.keys()))
async def test_statement_count_does_not_depend_on_number_of_nodes(
    ada: Client, admin: Client, statements: Statements, prefix: str
) -> None:
    maker = admin if prefix in SHARED else ada
    ids = [await FACTORIES[prefix](maker) for _ in range(FEW + MANY)]
    found = await uneven(ada, statements, prefix, ids)
    assert not found, found


async def test_field_without_loader_is_caught(
    ada: Client, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await FACTORIES["file"](ada) for _ in range(FEW + MANY)]

    async def load_alone(self: BatchLoader[Any, Any], key: Any) -> Any:
        return (await self.find([key])).get(key)

    monkeypatch.setattr(BatchLoader, "load", load_alone)
    assert "with a loader" in await uneven(ada, statements, "file", ids)
