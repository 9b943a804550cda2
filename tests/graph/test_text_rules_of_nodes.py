"""Texts in arguments below the root: of the fields of each type that has an ID."""

from typing import Any

import pytest
from graphql import get_named_type, is_required_argument

from tests.fixtures.clients import Client, Response
from tests.fixtures.factories import FACTORIES, IN_TARGET
from tests.fixtures.targets import Target
from tests.graph.test_ownership import Path, sample, selection, with_id
from tests.graph.test_statement_count import NODES
from tests.graph.test_text_rules import texts

CASES = [
    pytest.param(prefix, field, path, id=f"{kind.name}.{field}({'.'.join(path)})")
    for prefix, kind in NODES.items()
    for field, definition in kind.fields.items()
    for name, argument in definition.args.items()
    for path in texts(name, argument.type)
]

COMPARED = {*IN_TARGET, "conn", "run"}
"""Prefixes of types whose fields compare a text with names and values that were read before. None
of those has U+0000."""


async def send_nul(client: Client, node_id: str, prefix: str, field: str, path: Path) -> Response:
    kind = NODES[prefix]
    definition = kind.fields[field]
    values: dict[str, Any] = {
        name: sample(name, argument.type)
        for name, argument in definition.args.items()
        if is_required_argument(argument) or name in {"first", path[0]}
    }
    head, *rest = path
    values[head] = with_id(tuple(rest), definition.args[head].type, None, "a\0b")
    declared = ", ".join(f"${name}: {definition.args[name].type}" for name in values)
    passed = ", ".join(f"{name}: ${name}" for name in values)
    called = f"{field}({passed}) {selection(get_named_type(definition.type))}"
    document = (
        f"query($id: ID!, {declared}) {{ node(id: $id) {{ ... on {kind.name} {{ {called} }} }} }}"
    )
    return await client.send(document, id=node_id, **values)


@pytest.mark.parametrize(("prefix", "field", "path"), CASES)
async def test_text_of_field_has_a_rule(
    admin: Client, target: Target, prefix: str, field: str, path: Path
) -> None:
    if prefix in FACTORIES:
        node_id = await FACTORIES[prefix](admin)
    else:
        node_id = await IN_TARGET[prefix](admin, target)
    answer = await send_nul(admin, node_id, prefix, field, path)
    if prefix in COMPARED:
        assert answer.code != "INTERNAL", answer
    else:
        assert answer.code == "BAD_USER_INPUT", answer
        assert answer.errors[0]["extensions"].get("field") == path[0]
