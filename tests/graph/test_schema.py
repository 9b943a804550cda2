"""Conventions that every field of every domain follows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    parse,
    validate,
)

from graph.auth import Anyone, SignedIn
from graph.kit import fields as kit
from graph.kit.fields import WHO
from graph.schema import schema

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "graph/transport/graphiql/source/examples").glob("*.graphql"))
core: GraphQLSchema = schema._schema


def described() -> Iterator[tuple[str, str | None]]:
    """Every public name of the schema with its description."""
    for name, kind in core.type_map.items():
        if name.startswith("__"):
            continue
        yield name, kind.description
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field_name, field in kind.fields.items():
                yield f"{name}.{field_name}", field.description
                for argument, definition in field.args.items():
                    yield f"{name}.{field_name}({argument})", definition.description
        elif isinstance(kind, GraphQLInputObjectType):
            for field_name, input_field in kind.fields.items():
                yield f"{name}.{field_name}", input_field.description
        elif isinstance(kind, GraphQLEnumType):
            for value, member in kind.values.items():
                yield f"{name}.{value}", member.description


def test_schema_describes_everything() -> None:
    assert [name for name, words in described() if not (words or "").strip()] == []


def test_schema_file_is_current() -> None:
    written = (ROOT / "schema.graphql").read_text(encoding="utf-8")
    assert written == schema.as_str() + "\n", "run `make schema`"


def undeclared(root: Any) -> list[str]:
    """The root fields without a declared permission."""
    return [
        field.python_name
        for field in root.__strawberry_definition__.fields
        if not field.metadata.get(WHO)
    ]


@pytest.mark.parametrize("root", ["query", "mutation", "subscription"])
def test_root_field_declares_permission(root: str) -> None:
    assert undeclared(getattr(schema, root)) == []


def test_root_field_without_permission_is_caught() -> None:
    @strawberry.type
    class Planted:
        @kit.query("Says so.", who=Anyone)
        def open(self) -> int:
            return 1

        @kit.field("Does not.")
        def forgotten(self) -> int:
            return 2

    assert undeclared(Planted) == ["forgotten"]


@pytest.mark.parametrize("root", ["query", "mutation", "subscription"])
def test_permission_not_enforced_by_resolver_is_checked(root: str) -> None:
    """Resolvers of queries enforce `SignedIn` by `context.owner`; nothing else by themselves."""
    by_themselves = {Anyone, SignedIn} if root == "query" else set()
    fields = getattr(schema, root).__strawberry_definition__.fields
    assert [
        field.python_name
        for field in fields
        if not field.permission_classes and field.metadata[WHO] not in by_themselves
    ] == []


def test_mutation_has_one_input_and_payload() -> None:
    assert core.mutation_type is not None
    for name, field in core.mutation_type.fields.items():
        title = name[0].upper() + name[1:]
        assert str(field.type) == f"{title}Payload!", name
        taken = {argument: str(value.type) for argument, value in field.args.items()}
        assert taken in ({}, {"input": f"{title}Input!"}), name


def test_only_nodes_have_id() -> None:
    """Clients with a normalized cache take `id` for the key of a record."""
    with_id = {
        name
        for name, kind in core.type_map.items()
        if isinstance(kind, GraphQLObjectType) and "id" in kind.fields
    }
    node = core.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    assert with_id == {kind.name for kind in core.get_implementations(node).objects}


@pytest.mark.parametrize(
    "field",
    [
        "DatabaseConnection.schemas",
        "DatabaseSchema.tables",
        "DatabaseTable.columns",
        "QueryRun.rows",
        "QueryRun.columns",
        "QueryRun.downloadUrl",
        "File.downloadUrl",
        "File.uploadUrl",
    ],
)
def test_field_that_leaves_our_database_is_nullable(field: str) -> None:
    """Its failure leaves the rest of the response intact."""
    type_name, name = field.split(".")
    kind = core.type_map[type_name]
    assert isinstance(kind, GraphQLObjectType)
    assert not isinstance(kind.fields[name].type, GraphQLNonNull)


def test_list_has_four_paging_arguments() -> None:
    for kind in core.type_map.values():
        if not isinstance(kind, GraphQLObjectType):
            continue
        for name, field in kind.fields.items():
            if "edges" in getattr(get_named_type(field.type), "fields", {}):
                assert {"first", "after", "last", "before"} <= field.args.keys(), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_graphiql_examples_are_valid(path: Path) -> None:
    assert validate(core, parse(path.read_text("utf-8"))) == []
