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
    build_schema,
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


LAST_WINS = {
    "exportQueryRun": "it creates a file, which has no version before",
    "disconnect": "it changes no field that a user sets",
}
"""Changes of a type with `version` that take no `expectedVersion`, with the reason."""


def described() -> Iterator[tuple[str, str | None]]:
    """Every public name of the schema with its description."""
    yield "schema", core.description
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
    missing = [name for name, words in described() if not (words or "").strip()]
    assert not missing, (
        f"{missing}: declare each with `attribute`, `optional`, `argument` or `field` of "
        "graph/kit/fields.py, which take the description"
    )


def unexplained_nulls(core: GraphQLSchema) -> list[str]:
    """Nullable fields whose description does not say when they are null."""
    roots = {core.query_type, core.mutation_type}  # null if they fail (decision 27)
    return [
        f"{kind.name}.{name}"
        for kind in core.type_map.values()
        if isinstance(kind, GraphQLObjectType) and kind not in roots
        if not kind.name.startswith("__")
        for name, field in kind.fields.items()
        if not isinstance(field.type, GraphQLNonNull)
        if "null" not in (field.description or "").lower()
    ]


def test_nullable_field_says_when_it_is_null() -> None:
    found = unexplained_nulls(core)
    assert not found, f"{found}: add `Null if ...` to each description"
    planted = build_schema(
        """
        type Note { "Text." text: String "Author. Null if deleted." author: String "Size." n: Int! }
        type Query { "Reads one." note: Note }
        """
    )
    assert unexplained_nulls(planted) == ["Note.text"]


IDS_OF_NO_NODE = {"PlanNode"}
"""Their IDs are unique, though the objects cannot be fetched by them (decision 51)."""


def ids_without_node(core: GraphQLSchema) -> list[str]:
    """Types with a field `id` by which a client's cache would mix them up with other objects."""
    return [
        name
        for name, kind in core.type_map.items()
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__")
        if "id" in kind.fields and "Node" not in [each.name for each in kind.interfaces]
    ]


def non_null_root_fields(core: GraphQLSchema) -> list[str]:
    return [
        f"{root.name}.{name}"
        for root in (core.query_type, core.mutation_type)
        if root is not None
        for name, field in root.fields.items()
        if isinstance(field.type, GraphQLNonNull)
    ]


def test_root_field_is_nullable() -> None:
    found = non_null_root_fields(core)
    assert not found, (
        f"{found}: the error of a non-null root field discards the results of all others; declare "
        "it with `query` or `mutation` of graph/kit/fields.py, or give a nullable `type`"
    )
    planted = build_schema("type Query { a: [Int!]! b: Int } type Mutation { c: Int! }")
    assert non_null_root_fields(planted) == ["Query.a", "Mutation.c"]


def test_type_with_id_is_a_node() -> None:
    found = set(ids_without_node(core)) - IDS_OF_NO_NODE
    assert not found, (
        f"{found}: derive it from `Node` with `@node` (graph/kit/ids.py), or name the field after "
        "the object that it identifies, such as `taskId`"
    )


def changes_without_version(core: GraphQLSchema) -> list[str]:
    """Mutations that change one object with a `version`, and do not take `expectedVersion`."""
    assert core.mutation_type is not None
    found = []
    for name, field in core.mutation_type.fields.items():
        taken = {key for each in field.args.values() for key in fields_of(each.type)}
        returned = (fields_of(each.type) for each in fields_of(field.type).values())
        changed = "id" in taken and any("version" in fields for fields in returned)
        if changed and "expectedVersion" not in taken:
            found.append(name)
    return found


def fields_of(kind: Any) -> dict[str, Any]:
    return getattr(get_named_type(kind), "fields", {})


def test_change_of_versioned_object_takes_expected_version() -> None:
    found = [name for name in changes_without_version(core) if name not in LAST_WINS]
    assert not found, (
        f"{found}: add `expectedVersion` to the input and pass it to `Repository.update`, "
        "or add the mutation to LAST_WINS with the reason"
    )


def test_exceptions_of_conventions_are_in_use() -> None:
    assert LAST_WINS.keys() <= set(changes_without_version(core))


def test_id_and_change_against_the_conventions_are_caught() -> None:
    planted = build_schema("""
        interface Node { id: ID! }
        type Note implements Node { id: ID! version: Int! }
        type NoteCount { id: ID! count: Int! }
        input RenameNoteInput { id: ID! name: String! }
        type RenameNotePayload { note: Note! }
        input MoveNoteInput { id: ID! expectedVersion: Int }
        type MoveNotePayload { note: Note! }
        type Query { noteCount: NoteCount! }
        type Mutation {
          renameNote(input: RenameNoteInput!): RenameNotePayload!
          moveNote(input: MoveNoteInput!): MoveNotePayload!
        }
    """)
    assert ids_without_node(planted) == ["NoteCount"]
    assert changes_without_version(planted) == ["renameNote"]


def test_schema_file_is_current() -> None:
    written = (ROOT / "schema.graphql").read_text(encoding="utf-8")
    assert written == schema.as_str() + "\n", "run `make schema`"
    assert build_schema(written).description == core.description


def undeclared(root: Any) -> list[str]:
    """The root fields without a declared permission."""
    return [
        field.python_name
        for field in root.__strawberry_definition__.fields
        if not field.metadata.get(WHO)
    ]


@pytest.mark.parametrize("root", ["query", "mutation", "subscription"])
def test_root_field_declares_permission(root: str) -> None:
    missing = undeclared(getattr(schema, root))
    assert not missing, (
        f"{missing}: declare each with `{root}(..., who=...)` of graph/kit/fields.py; `who` is "
        "one of the permissions of graph/auth.py"
    )


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
        assert str(field.type) == f"{title}Payload", name
        taken = {argument: str(value.type) for argument, value in field.args.items()}
        assert taken in ({}, {"input": f"{title}Input!"}), name


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
