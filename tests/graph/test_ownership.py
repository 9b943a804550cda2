"""Nobody reaches another's things. Finds every id argument in the schema by itself.

A new type of id needs a factory in tests/fixtures/factories.py, and nothing here.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLID,
    GraphQLInputObjectType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from db.base import new_id
from graph.schema import schema
from tests.fixtures.clients import Client, Response
from tests.fixtures.factories import FACTORIES, SHARED, VALUES

core: Any = schema._schema


class Door(NamedTuple):
    """A root field, and the way to one id that it takes."""

    root: str
    field: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.field}({'.'.join(self.path)})"


def id_paths(name: str, kind: Any) -> Iterator[tuple[str, ...]]:
    named = get_named_type(kind)
    if named is GraphQLID:
        yield (name,)
    elif isinstance(named, GraphQLInputObjectType):
        for child, field in named.fields.items():
            yield from ((name, *path) for path in id_paths(child, field.type))


def doors() -> Iterator[Door]:
    for root in ("query", "mutation", "subscription"):
        for name, field in getattr(core, f"{root}_type").fields.items():
            for argument, definition in field.args.items():
                for path in id_paths(argument, definition.type):
                    yield Door(root, name, path)


DOORS = list(doors())


def sample(name: str, kind: Any) -> Any:
    """Something acceptable of a type; by name where the type says too little."""
    kind = get_nullable_type(kind)
    if name in VALUES:
        return VALUES[name]
    if is_list_type(kind):
        return [sample(name, kind.of_type)]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        return {
            child: sample(child, field.type)
            for child, field in kind.fields.items()
            if is_required_input_field(field)
        }
    return {"Int": 1, "Float": 1.0, "Boolean": True, "BigInt": "1", "JSON": {}}.get(kind.name, "x")


def with_id(path: tuple[str, ...], kind: Any, given: Any, value: str) -> Any:
    kind = get_nullable_type(kind)
    if is_list_type(kind):
        return [with_id(path, kind.of_type, None, value)]
    if not path:
        return value
    assert isinstance(kind, GraphQLInputObjectType)
    child = kind.fields[path[0]].type
    given = dict(given or sample("", kind))
    return given | {path[0]: with_id(path[1:], child, given.get(path[0]), value)}


def selection(kind: Any) -> str:
    """Enough to see that something was found; of a list, its things."""
    if is_leaf_type(kind):
        return ""
    return " { nodes { __typename } }" if "nodes" in kind.fields else " { __typename }"


async def knock(client: Client, door: Door, value: str) -> Response:
    field: GraphQLField = getattr(core, f"{door.root}_type").fields[door.field]
    values: dict[str, Any] = {
        name: sample(name, argument.type)
        for name, argument in field.args.items()
        if is_required_argument(argument) or name == "first"
    }
    head, *rest = door.path
    values[head] = with_id(tuple(rest), field.args[head].type, values.get(head), value)
    declared = ", ".join(f"${name}: {field.args[name].type}" for name in values)
    passed = ", ".join(f"{name}: ${name}" for name in values)
    selected = selection(get_named_type(field.type))
    document = f"{door.root} Knock({declared}) {{ {door.field}({passed}){selected} }}"
    if door.root == "subscription":
        return await client.first(document, **values)
    return await client.send(document, **values)


async def prefixes(client: Client, door: Door) -> list[str]:
    """What ids a door takes: it says so when it is shown another."""
    answer = await knock(client, door, "nonsense_1")
    assert answer.code == "BAD_USER_INPUT", f"{door} takes nonsense: {answer}"
    expected = re.search(r"expected `(\w+)_…`", answer.message)
    return [expected[1]] if expected else list(FACTORIES)


@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_anothers_id_opens_nothing(
    ada: Client, bob: Client, admin: Client, door: Door
) -> None:
    for prefix in await prefixes(admin, door):
        assert prefix in FACTORIES, f"add a factory for `{prefix}_…` ids"
        if prefix in SHARED:
            continue
        theirs = await FACTORIES[prefix](ada)
        missing = f"{prefix}_{new_id().hex}"
        for stranger in (bob, admin):
            answer = await knock(stranger, door, theirs)
            if door.root == "query":
                assert answer == await knock(stranger, door, missing)
                assert "__typename" not in str(answer.data)
            elif door.root == "mutation":
                assert answer.code == "FORBIDDEN", f"{door}: {answer}"
                assert (await knock(stranger, door, missing)).code == "NOT_FOUND"
            else:
                assert answer.code == "NOT_FOUND", f"{door}: {answer}"
        found = await ada.send("query($id: ID!) { node(id: $id) { id } }", id=theirs)
        assert found.data == {"node": {"id": theirs}}


@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_without_a_session_no_door_opens(anonymous: Client, door: Door) -> None:
    answer = await knock(anonymous, door, f"task_{new_id().hex}")
    assert answer.code in {"UNAUTHENTICATED", "BAD_USER_INPUT"}


def test_there_are_doors() -> None:
    assert {door.field for door in DOORS} >= {"node", "task", "updateTask"}
