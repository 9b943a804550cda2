"""Schemas created without Strawberry: every kind of type resolver and field resolver."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, parse

from tests.graph.executor.compare import compare

SDL = """
  type Query { pet: Pet pets: [Pet] dog: Dog! thing: Thing any(of: Int = 1): Int }
  interface Pet { name: String }
  type Cat implements Pet { name: String friend: Pet }
  type Dog implements Pet { name: String friend: Pet! }
  type Stone { weight: Float }
  union Thing = Stone | Cat
  enum Color { RED GREEN }
"""
QUERY = """{
  pet { ...P } pets { ...P } dog { name friend { name } }
  thing { __typename ... on Stone { weight } }
  any three: any(of: 3)
} fragment P on Pet { __typename name ... on Cat { friend { name } } }"""

CAT = {"name": "Tom", "friend": {"name": "Rex", "dog": True}}
DOG = {"name": "Rex", "dog": True, "friend": CAT}
ROOT = {"pet": CAT, "pets": [CAT, DOG, None], "dog": DOG, "thing": {"weight": 1.5}}


def is_type(name: str) -> Callable[[Mapping[str, Any], Any], bool]:
    def is_type_of(value: Mapping[str, Any], _info: Any) -> bool:
        kind = "Dog" if "dog" in value else "Stone" if "weight" in value else "Cat"
        return kind == name

    return is_type_of


def later(function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapped(*args: Any) -> Any:
        return function(*args)

    return wrapped


def raises(*_args: Any) -> Any:
    raise RuntimeError("no idea")


def with_checks(wrap: Callable[..., Any]) -> GraphQLSchema:
    schema: Any = build_schema(SDL)
    for name in ("Cat", "Dog", "Stone"):
        schema.type_map[name].is_type_of = wrap(is_type(name))
    return schema  # type: ignore[no-any-return]  # see above


def with_resolver(resolve: Callable[..., Any]) -> GraphQLSchema:
    schema: Any = build_schema(SDL)
    for name in ("Pet", "Thing"):
        schema.type_map[name].resolve_type = resolve
    return schema  # type: ignore[no-any-return]  # see above


def kind_of(value: Mapping[str, Any], *_: Any) -> str:
    return "Dog" if "dog" in value else "Stone" if "weight" in value else "Cat"


SCHEMAS = {
    "nothing known": build_schema(SDL),
    "is_type_of": with_checks(lambda check: check),
    "async is_type_of": with_checks(later),
    "is_type_of raises": with_checks(lambda _: raises),
    "async is_type_of raises": with_checks(lambda _: later(raises)),
    "is_type_of never": with_checks(lambda _: lambda *_: False),
    "async is_type_of never": with_checks(lambda _: later(lambda *_: False)),
    "resolve_type": with_resolver(kind_of),
    "async resolve_type": with_resolver(later(kind_of)),
    "resolve_type raises": with_resolver(raises),
    "async resolve_type raises": with_resolver(later(raises)),
    "no type": with_resolver(lambda *_: None),
    "no name": with_resolver(lambda *_: 7),
    "unknown type": with_resolver(lambda *_: "Horse"),
    "no object type": with_resolver(lambda *_: "Color"),
    "type of another": with_resolver(lambda *_: "Query"),
    "async type of another": with_resolver(later(lambda *_: "Query")),
}


ROOTS: dict[str, Callable[[], Any]] = {
    "all there": lambda: ROOT,
    "a method": lambda: {**ROOT, "any": lambda _info, of: of},
    "wrong values": lambda: {**ROOT, "pets": "Tom", "thing": 3, "any": "one"},
    "nulls": lambda: {**ROOT, "pets": {"name": "Tom"}, "dog": None},
    "an error": lambda: {**ROOT, "pets": iter(()), "dog": ValueError("bad dog")},
    "typenames": lambda: {"pet": {"__typename": "Dog", **DOG}, "thing": {"__typename": "Query"}},
    "awaitables": lambda: {**ROOT, "pets": [later(lambda: CAT)(), DOG], "dog": later(kind_of)(DOG)},
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
@pytest.mark.parametrize("make_root", ROOTS.values(), ids=ROOTS.keys())
async def test_execution_of_core_schema_equals_graphql_core(
    schema: GraphQLSchema, make_root: Callable[[], Any]
) -> None:
    await compare(schema, parse(QUERY), None, make_root)
