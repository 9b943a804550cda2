"""Results of the compiled executor are identical to those of graphql-core."""

import pytest
from graphql import get_introspection_query

from tests.graph.executor.compare import run_both

QUERIES = {
    "leaves": "{ person { id name nickname age height active mood born balance large } }",
    "aliases": "{ a: person { x: name y: name } b: person { name } }",
    "typename": "{ __typename t: __typename person { __typename home { __typename } } }",
    "lists": "{ person { tags scores matrix friends { name tags } known { name } } }",
    "resolvers": '{ person { label nobody method where times greeting(to: "you") } }',
    "async": "{ person { partner { name } team { name partner { name } } home { owner { id } } } }",
    "stream": "{ person { stream { name } } }",
    "missing attribute": "{ person { missing feeling name } }",
    "extensions": '{ person { secret deepSecret extended extended2: extended(suffix: "?") } }',
    "interface": "{ person { nodes { id kind __typename ... on Person { name } } } }",
    "union": "{ pets { __typename ... on Cat { lives mother { lives } } ... on Dog { loud } } }",
    "wrong runtime type": "{ animals { name } }",
    "abstract fragments": "{ animals { ... on Node { kind } ... on Cat { lives } } }",
    "node": '{ node(id: "1") { id ... on Person { friends { id } } ... on Cat { lives } } }',
    "merging": """{
        person { name home { street } ...P }
        ... on Query { person { home { nickname owner { id } } } }
      }
      fragment P on Person { home { owner { name } } friends { ...Q } age }
      fragment Q on Person { id best { ...R } }
      fragment R on Node { id ... on Person { name } }""",
    "fragment spread twice": """{ person { ...P boss { ...P } ...P } }
      fragment P on Person { name friends { name } }""",
    "constant directives": """{ person {
        name @skip(if: true) age @include(if: true)
        ... @include(if: false) { id } ... @skip(if: false) { mood } ...P @skip(if: true)
      } } fragment P on Person { id }""",
    "all skipped": "{ person { name @skip(if: true) } }",
    "arguments": """{ person {
        a: echo b: echo(mood: HAPPY, moods: [SAD, HAPPY]) c: echo(moods: SAD)
        d: echo(day: "2020-02-03", number: 12, ratio: 1, otherName: null)
        times(factor: 3) t: times(offset: null)
      } }""",
    "inputs": """{ person {
        a: search(where: {name: "x"})
        b: search(where: {name: "x", age: {high: 3, moods: [SAD]}, tags: ["a"], born: null})
        c: search(where: {name: "x", tags: null, born: "2020-02-03"})
        friends { search(where: {name: "y", age: {}}) }
        found(keys: [{id: "1"}, {name: "n"}]) { id }
      } }""",
    "bad scalar at run time": '{ person { echo(day: "never") } }',
    "schema": '{ __schema { types { name } } __type(name: "Person") { fields { name } } }',
    "introspection": get_introspection_query(),
    "deep": "{ person " + 60 * "{ name boss " + "{ id }" + 60 * "}" + "}",
    "missing root attribute": "{ home { street } nickname }",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
@pytest.mark.parametrize("seed", ["root", "other", "third"])
@pytest.mark.parametrize("faults", [0.0, 0.15, 0.5])
async def test_execution_equals_graphql_core(query: str, seed: str, faults: float) -> None:
    await run_both(query, seed=seed, faults=faults, valid="never" not in query)
