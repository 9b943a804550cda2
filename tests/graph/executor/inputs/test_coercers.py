"""Compiled coercion gives the same results as graphql-core and Strawberry."""

from typing import Any

import pytest
from graphql import GraphQLInputType, GraphQLSchema
from graphql.pyutils import Undefined
from graphql.type import (
    is_enum_type,
    is_input_object_type,
    is_input_type,
    is_list_type,
    is_non_null_type,
)
from graphql.utilities import coerce_input_value
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry import Schema
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_argument

from graph.executor.compile.strawberry_adapter import argument_converter
from graph.executor.inputs.coercers import SlowPath, input_coercer
from graph.schema import schema as our_schema
from tests.graph.executor.world import schema as world_schema

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "task_1", "2026-11-21T10:00:00Z", "2026-11-21", "7", "ASC"])
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def core_of(schema: Schema) -> GraphQLSchema:
    return schema._schema


def inputs_of(schema: Schema) -> list[Any]:
    types = core_of(schema).type_map.values()
    return [type_ for type_ in types if is_input_type(type_) and not str(type_).startswith("__")]


def fitting(type_: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """A random value for a type, sometimes an invalid one."""
    if is_non_null_type(type_):
        return fitting(type_.of_type, depth)
    if is_list_type(type_):
        usual: st.SearchStrategy[Any] = st.lists(fitting(type_.of_type, depth), max_size=2)
    elif is_enum_type(type_):
        usual = st.sampled_from(sorted(type_.values))
    elif is_input_object_type(type_) and depth < 3:
        fields = {name: fitting(field.type, depth + 1) for name, field in type_.fields.items()}
        usual = st.fixed_dictionaries({}, optional=fields | {"unheard": st.none()})
    else:
        usual = st.none()
    return usual | ANYTHING


def taken_by_core(value: Any, type_: GraphQLInputType) -> Any:
    try:
        return coerce_input_value(value, type_)
    except RecursionError:
        return Undefined


CASES = [
    pytest.param(schema, type_, id=f"{type_.name}")
    for schema in (our_schema, world_schema)
    for type_ in inputs_of(schema)
]


@pytest.mark.parametrize(("schema", "type_"), CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_input_coercion_equals_graphql_core(schema: Schema, type_: Any, data: Any) -> None:
    value = data.draw(fitting(type_))
    try:
        coerced = input_coercer(type_)(value)
    except SlowPath:
        return
    expected = taken_by_core(value, type_)
    assert (coerced, type(coerced)) == (expected, type(expected))
    definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    origin: Any = getattr(definition, "origin", None)
    convert = None if origin is None else argument_converter(origin, schema)
    if convert is not None:
        registry = schema.schema_converter.scalar_registry
        assert convert(coerced) == convert_argument(coerced, origin, registry, schema.config)


def test_input_coercion_compiles_common_types() -> None:
    types = core_of(our_schema).type_map
    asked: dict[str, Any] = {"title": "Milk", "description": None, "idempotencyKey": "k"}
    assert input_coercer(types["CreateTaskInput"])(asked) == asked  # type: ignore[arg-type]
    order = input_coercer(types["TaskOrder"])({"field": "TITLE"})  # type: ignore[arg-type]
    assert sorted(order) == ["direction", "field"]


@pytest.mark.parametrize(
    "value",
    [
        {"title": 7},
        {"title": None},
        {},
        {"title": "x", "other": 1},
        [],
        "x",
    ],
)
def test_input_coercion_leaves_errors_to_graphql_core(value: Any) -> None:
    with pytest.raises(SlowPath):
        input_coercer(core_of(our_schema).type_map["CreateTaskInput"])(value)  # type: ignore[arg-type]
