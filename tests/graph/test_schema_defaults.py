"""Defaults are values of the schema, which tools read, and null does not stand for them."""

import re
from collections.abc import Iterator

from graphql import (
    GraphQLArgument,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)

from graph.schema import schema

# A value, and not a rule such as "Defaults to the media type of the file".
PROMISE = re.compile(r"\bDefaults to (true|false|[\d,]+|`[^`]+`)")

WITHOUT_VALUE = {
    "orderBy": "an input object as the default would take the slow path of the executor",
    "savePassword": "an update without it leaves the stored password as it is",
}
"""Arguments and input fields whose default is not a value of the schema, with the reason."""

NULLABLE = {"CreateFileInput.contentType": "a page passes on what the browser knows of a file"}
"""Arguments and input fields with a default that accept null too, with the reason."""


def inputs(core: GraphQLSchema) -> Iterator[tuple[str, str, GraphQLArgument | GraphQLInputField]]:
    for name, kind in core.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(kind, GraphQLObjectType):
            for field_name, field in kind.fields.items():
                for argument, definition in field.args.items():
                    yield f"{name}.{field_name}({argument}:)", argument, definition
        elif isinstance(kind, GraphQLInputObjectType):
            for field_name, definition in kind.fields.items():
                yield f"{name}.{field_name}", field_name, definition


def without_value(core: GraphQLSchema) -> list[str]:
    return [
        coordinate
        for coordinate, name, definition in inputs(core)
        if PROMISE.search(definition.description or "") and name not in WITHOUT_VALUE
        if definition.ast_node is None or not _has_value(definition)
    ]


def _has_value(definition: GraphQLArgument | GraphQLInputField) -> bool:
    assert definition.ast_node is not None
    value = definition.ast_node.default_value
    return value is not None and value.kind != "null_value"


def test_promised_default_is_a_value_of_the_schema() -> None:
    found = without_value(build_schema(schema.as_str()))
    assert not found, f"{found}: pass `default=` to `optional`, or give the argument a default"


def test_promised_default_without_value_is_caught() -> None:
    planted = build_schema("""
        type Query {
          notes("Defaults to true." done: Boolean, "Defaults to 5." first: Int = null): Int
          good("Defaults to 5." first: Int = 5, "Defaults to the whole." last: Int): Int
        }
        input NoteInput { "Colour. Defaults to `RED`." colour: String }
    """)
    assert without_value(planted) == [
        "Query.notes(done:)",
        "Query.notes(first:)",
        "NoteInput.colour",
    ]


def nullable_with_value(core: GraphQLSchema) -> list[str]:
    return [
        coordinate
        for coordinate, _, definition in inputs(core)
        if _has_value(definition) and not isinstance(definition.type, GraphQLNonNull)
    ]


def test_input_with_a_default_is_not_nullable() -> None:
    found = nullable_with_value(build_schema(schema.as_str()))
    assert found == list(NULLABLE), "annotate it without `| None`; omitting it gives the default"


def test_nullable_input_with_a_default_is_caught() -> None:
    planted = build_schema(
        "input RunInput { dryRun: Boolean = false wait: Int! = 0 name: String = null limit: Int } "
        "type Query { a(input: RunInput, n: Int = 1): Int }"
    )
    assert sorted(nullable_with_value(planted)) == ["Query.a(n:)", "RunInput.dryRun"]
