"""Variables: coercion, defaults, errors, and the conditions that shape a response."""

from typing import Any

import pytest
from graphql import parse

from graph.executor import InvalidVariable, TooManyInvalidValues, compile_plan
from graph.executor.plan import _KEPT_VARIANTS, CompiledProgram
from tests.graph.executor.compare import run_both
from tests.graph.executor.rows import Row
from tests.graph.executor.world import core_schema

GREET = """query($to: String!, $polite: Boolean = false) {
  person { greeting(to: $to, polite: $polite) }
}"""
ECHO = """query($mood: Mood! = SAD, $moods: [Mood!], $day: Date, $number: BigInt, $ratio: Float) {
  person {
    echo(mood: $mood, moods: $moods, day: $day, number: $number, ratio: $ratio)
    friends { echo(mood: $mood, ratio: $ratio) }
  }
}"""
SEARCH = "query($where: Search!) { person { search(where: $where) again: search(where: $where) } }"
KEYS = "query($keys: [Key!]!) { person { found(keys: $keys) { id } } }"
SHAPE = """query($a: Boolean!, $b: Boolean = true) {
  person {
    name @include(if: $a) age @skip(if: $a)
    ...P @include(if: $b) ... @skip(if: $b) { mood friends { name @include(if: $a) } }
  }
} fragment P on Person { id friends { id @skip(if: $a) name @include(if: $a) } }"""


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (GREET, {"to": "you"}),
        (GREET, {"to": "you", "polite": None}),
        (GREET, {"to": "you", "unknown": 1}),
        (GREET, {}),
        (GREET, None),
        (GREET, {"to": None}),
        (GREET, {"to": 7}),
        (GREET, {"to": ["you"], "polite": "yes"}),
        (ECHO, {}),
        (ECHO, {"mood": "HAPPY", "moods": "SAD", "day": "2020-01-01", "number": "9", "ratio": 2}),
        (ECHO, {"moods": ["HAPPY", "SAD"], "day": None, "ratio": None}),
        (ECHO, {"mood": "ANGRY", "moods": [None], "day": "never", "number": "x", "ratio": "y"}),
        (ECHO, {"mood": None}),
        (SEARCH, {"where": {"name": "x"}}),
        (SEARCH, {"where": {"name": "x", "age": {"low": 1, "moods": ["SAD"]}, "tags": ["a"]}}),
        (SEARCH, {"where": {"name": "x", "born": None, "tags": None, "age": None}}),
        (SEARCH, {"where": {"age": {"low": "one"}, "other": 1}}),
        (SEARCH, {"where": "x"}),
        (KEYS, {"keys": [{"id": 1}, {"name": "n"}]}),
        (KEYS, {"keys": {"id": "1"}}),
        (KEYS, {"keys": [{"id": 1, "name": "n"}, {}, {"id": None}]}),
        (KEYS, {"keys": []}),
        (SHAPE, {"a": True}),
        (SHAPE, {"a": False}),
        (SHAPE, {"a": True, "b": False}),
        (SHAPE, {"a": False, "b": False}),
        (SHAPE, {}),
    ],
)
async def test_variables_equal_graphql_core(query: str, variables: dict[str, Any] | None) -> None:
    await run_both(query, variables)


AGE = 'query($low: Int) { person { search(where: {name: "x", age: {low: $low}}) } }'
ONE_KEY = "query($id: ID!) { person { found(keys: [{id: $id}]) { id } } }"


@pytest.mark.parametrize(
    ("query", "variables", "field"),
    [
        (GREET, {}, "to"),
        (GREET, {"to": 7}, "to"),
        ("query($name: String!) { person { greeting(to: $name) } }", {"name": 7}, "to"),
        (SEARCH, {"where": "x"}, "where"),
        (SEARCH, {"where": {}}, "name"),
        (SEARCH, {"where": {"name": 7}}, "name"),
        (SEARCH, {"where": {"name": "x", "age": {"low": "one"}}}, "age.low"),
        (SEARCH, {"where": {"name": "x", "age": {"moods": ["SAD", "BAD"]}}}, "age.moods"),
        (AGE, {"low": "one"}, "age.low"),
        (KEYS, {"keys": [{"id": 1}, {"name": 7}]}, "keys"),
        (ONE_KEY, {"id": [1]}, "keys"),
        (SHAPE, {}, "a"),
    ],
)
async def test_invalid_variable_names_the_field_as_resolvers_do(
    query: str, variables: dict[str, Any], field: str
) -> None:
    plan = compile_plan(core_schema, parse(query), None)
    result = await plan.execute(context=None, variables=variables, root=Row("root"))
    assert result.errors
    error = result.errors[0]
    assert isinstance(error, InvalidVariable)
    assert error.field == field


async def test_variables_limit_number_of_errors() -> None:
    """Five instead of graphql-core's fifty, which visits the whole value for each error."""
    plan = compile_plan(core_schema, parse(KEYS), None)
    given = {"keys": [{"other": number} for number in range(60)]}
    result = await plan.execute(context=None, variables=given, root=Row("root"))
    assert result.errors
    *reported, last = result.errors
    assert len(reported) == 5
    assert "Too many errors" in last.message


async def test_variables_that_are_invalid_and_too_many_are_refused() -> None:
    plan = compile_plan(core_schema, parse(KEYS), None)
    many: list[Any] = [[1] * 20_001, [[1] * 150] * 150, [{f"k{n}": n for n in range(30_000)}]]
    for wrong in many:
        with pytest.raises(TooManyInvalidValues, match="20,000"):
            await plan.execute(context=None, variables={"keys": wrong}, root=Row("root"))


async def test_plan_serves_every_set_of_variables() -> None:
    plan = compile_plan(core_schema, parse(SHAPE), None)
    shapes = []
    for choice in ({"a": True}, {"a": False}, {"a": True}):
        result = await plan.execute(context=None, variables=choice, root=Row("root"))
        assert result.data
        shapes.append(list(result.data["person"]))
    assert shapes == [["name", "id", "friends"], ["age", "id", "friends"], shapes[0]]


async def test_plan_caches_few_sets_of_variables() -> None:
    names = [f"v{number}" for number in range(6)]
    fields = " ".join(f"{name}: name @include(if: ${name})" for name in names)
    query = (
        f"query({', '.join(f'${name}: Boolean!' for name in names)}) {{ person {{ {fields} }} }}"
    )
    plan = compile_plan(core_schema, parse(query), None)
    for bits in range(40):
        chosen = {name: bool(bits >> place & 1) for place, name in enumerate(names)}
        result = await plan.execute(context=None, variables=chosen, root=Row("root"))
        assert result.data
        assert list(result.data["person"]) == [name for name in names if chosen[name]]
    assert isinstance(plan, CompiledProgram)
    assert len(plan._variants) == _KEPT_VARIANTS


async def test_inputs_are_not_shared_between_calls() -> None:
    query = '{ person { a: search(where: {name: "x"}) b: search(where: {name: "x"}) } }'
    plan = compile_plan(core_schema, parse(query), None)
    for _ in range(2):
        result = await plan.execute(context=None, variables=None, root=Row("root"))
        assert result.data
        assert "name='x'" in result.data["person"]["a"]
        assert "name='x'" in result.data["person"]["b"]
