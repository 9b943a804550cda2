"""IDs of other users give no access. Finds every ID argument in the schema.

A new type of id needs a factory in tests/fixtures/factories.py, and nothing here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

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
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.utils.str_converters import to_camel_case

from graph.auth import AdminOnly, Anyone
from graph.kit.fields import WHO
from graph.schema import schema
from tests.fixtures.clients import Client, Response
from tests.fixtures.factories import (
    FACTORIES,
    IN_TARGET,
    SEEN_BY_ADMINS,
    SHARED,
    VALUES,
    missing_id,
)
from tests.fixtures.targets import Target

core: Any = schema._schema


Path: TypeAlias = tuple[str, ...]


class Door(NamedTuple):
    """A root field, the path to one of its ID arguments, and the other required IDs."""

    root: str
    field: str
    path: Path
    others: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.field}({'.'.join(self.path)})"

    @property
    def definition(self) -> GraphQLField:
        found: GraphQLField = getattr(core, f"{self.root}_type").fields[self.field]
        return found

    @property
    def is_for_admins(self) -> bool:
        """An admin may pass the IDs of other users."""
        declared = self.definition.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
        return bool(declared.metadata[WHO] is AdminOnly)


def id_paths(name: str, definition: Any) -> Iterator[tuple[Path, bool]]:
    """The paths to IDs in an argument or an input field, and whether each is required."""
    needed = is_required_argument(definition)
    named = get_named_type(definition.type)
    if named is GraphQLID:
        yield (name,), needed
    elif isinstance(named, GraphQLInputObjectType):
        for child, field in named.fields.items():
            for path, needed_within in id_paths(child, field):
                yield (name, *path), needed and needed_within


def doors() -> Iterator[Door]:
    for root in ("query", "mutation", "subscription"):
        for name, field in getattr(core, f"{root}_type").fields.items():
            ids = [found for argument in field.args.items() for found in id_paths(*argument)]
            for path, _ in ids:
                others = tuple(other for other, needed in ids if needed and other != path)
                yield Door(root, name, path, others)


DOORS = list(doors())

ALSO_REQUIRED = {("ExecuteQueryInput", "statement")}
"""Input fields without which an input is refused before its IDs are looked up."""


def sample(name: str, kind: Any) -> Any:
    """A valid value of a type; by field name where the type is not sufficient."""
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
            if is_required_input_field(field) or (kind.name, child) in ALSO_REQUIRED
        }
    return {"Int": 1, "Float": 1.0, "Boolean": True, "BigInt": "1", "JSON": {}}.get(kind.name, "x")


def with_id(path: Path, kind: Any, given: Any, value: str) -> Any:
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
    """A selection that shows whether an object was found; for lists, its items."""
    if is_leaf_type(kind):
        return ""
    return " { nodes { __typename } }" if "nodes" in kind.fields else " { __typename }"


async def knock(client: Client, door: Door, ids: Mapping[Path, str]) -> Response:
    arguments = door.definition.args
    values: dict[str, Any] = {
        name: sample(name, argument.type)
        for name, argument in arguments.items()
        if is_required_argument(argument) or name == "first"
    }
    for (head, *rest), value in ids.items():
        values[head] = with_id(tuple(rest), arguments[head].type, values.get(head), value)
    declared = ", ".join(f"${name}: {arguments[name].type}" for name in values)
    passed = ", ".join(f"{name}: ${name}" for name in values)
    selected = selection(get_named_type(door.definition.type))
    declared, passed = (f"({names})" if names else "" for names in (declared, passed))
    document = f"{door.root} Knock{declared} {{ {door.field}{passed}{selected} }}"
    if door.root == "subscription":
        return await client.first(document, **values)
    return await client.send(document, **values)


async def prefixes(client: Client, door: Door) -> dict[Path, list[str]]:
    """The ID types that an argument accepts, as its error messages for other types say."""
    found: dict[Path, list[str]] = {}
    shown = dict.fromkeys((door.path, *door.others), "nonsense_1")
    while unknown := shown.keys() - found.keys():
        answer = await knock(client, door, shown)
        assert answer.code == "BAD_USER_INPUT", f"{door} takes nonsense: {answer}"
        field = answer.errors[0]["extensions"].get("field")
        refused = [path for path in unknown if path[-1] == field]
        assert len(refused) == 1, f"{door} does not say which of its ids is wrong: {answer}"
        expected = re.search(r"expected `(\w+)_…`", answer.message)
        found[refused[0]] = [expected[1]] if expected else [*FACTORIES, *IN_TARGET]
        shown[refused[0]] = missing_id(found[refused[0]][0])
    return found


async def own(stranger: Client, admin: Client, prefix: str) -> str:
    return await FACTORIES[prefix](admin if prefix in SHARED else stranger)


@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_argument_with_id_of_other_user_returns_nothing(
    ada: Client, bob: Client, admin: Client, door: Door
) -> None:
    taken = await prefixes(admin, door)
    for prefix in taken[door.path]:
        assert prefix in FACTORIES.keys() | IN_TARGET.keys(), (
            f"add a factory for `{prefix}_…` IDs to FACTORIES in tests/fixtures/factories.py"
        )
        if prefix in SHARED or prefix in IN_TARGET:
            continue
        theirs = await FACTORIES[prefix](ada)
        missing = missing_id(prefix)
        if door.is_for_admins:
            answers = [await knock(bob, door, {door.path: each}) for each in (theirs, missing)]
            assert [answer.code for answer in answers] == ["FORBIDDEN"] * 2
            continue
        for stranger in (bob,) if {prefix, door.field} & SEEN_BY_ADMINS else (bob, admin):
            mine = {path: await own(stranger, admin, taken[path][0]) for path in door.others}
            answer = await knock(stranger, door, mine | {door.path: theirs})
            answer_to_none = await knock(stranger, door, mine | {door.path: missing})
            if door.root == "query":
                assert answer == answer_to_none
                assert "__typename" not in str(answer.data)
            elif door.root == "mutation":
                assert answer.code == "FORBIDDEN", f"{door}: {answer}"
                assert answer_to_none.code == "NOT_FOUND", f"{door}: {answer_to_none}"
                for refused in (answer, answer_to_none):
                    field = refused.errors[0]["extensions"].get("field")
                    assert field == door.path[-1], f"{door} names another field: {refused}"
            else:
                assert answer.code == "NOT_FOUND", f"{door}: {answer}"
        found = await ada.send("query($id: ID!) { node(id: $id) { id } }", id=theirs)
        assert found.data == {"node": {"id": theirs}}


@pytest.mark.parametrize("door", [door for door in DOORS if door.field.startswith("node")], ids=str)
@pytest.mark.parametrize("prefix", IN_TARGET)
async def test_node_in_database_of_other_user_returns_nothing(
    ada: Client, bob: Client, admin: Client, target: Target, door: Door, prefix: str
) -> None:
    theirs = await IN_TARGET[prefix](ada, target)
    for stranger in (bob, admin):
        answer = await knock(stranger, door, {door.path: theirs})
        assert answer == await knock(stranger, door, {door.path: missing_id(prefix)})
        assert not answer.errors
        assert "__typename" not in str(answer.data)
    assert "__typename" in str((await knock(ada, door, {door.path: theirs})).data)


@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_mutation_without_session_is_refused(
    anonymous: Client, admin: Client, door: Door
) -> None:
    taken = await prefixes(admin, door)
    others = {path: missing_id(taken[path][0]) for path in door.others}
    for prefix in taken[door.path]:
        answer = await knock(anonymous, door, others | {door.path: missing_id(prefix)})
        assert answer.code == "UNAUTHENTICATED", f"{door} {prefix}: {answer}"


def closed_queries_without_ids() -> list[Door]:
    query: Any = schema.query
    with_ids = {door.field for door in DOORS}
    return [
        Door("query", field.graphql_name or to_camel_case(field.python_name), (), ())
        for field in query.__strawberry_definition__.fields
        if field.metadata[WHO] is not Anyone
        and (field.graphql_name or to_camel_case(field.python_name)) not in with_ids
    ]


@pytest.mark.parametrize("door", closed_queries_without_ids(), ids=lambda door: door.field)
async def test_query_without_session_is_refused(anonymous: Client, door: Door) -> None:
    answer = await knock(anonymous, door, {})
    assert answer.code == "UNAUTHENTICATED", f"{door.field}: {answer}"


def test_ownership_tests_find_arguments() -> None:
    assert {door.field for door in DOORS} >= {"node", "task", "updateTask"}
    assert {str(door) for door in DOORS if door.others} >= {
        "exportQueryRun(input.id)",
        "exportQueryRun(input.bucketId)",
    }
