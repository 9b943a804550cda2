import re
import time
from typing import Any

import pytest
from graphql import GraphQLError, get_introspection_query, parse

from db.errors import BadInput, HowdahError, TooLarge
from graph.executor.document import select_operation
from graph.operations.limits import CostProgram, RequestLimits, parse_document, refuse_cost, weigh
from graph.operations.limits.cost import _INTROSPECTION_LISTS
from graph.schema import schema

LIMITS = RequestLimits()


def program_of(text: str) -> CostProgram:
    operation = select_operation(parse(text), None)
    return weigh(operation.definition, operation.fragments, LIMITS)


def cost_of(text: str, **variables: object) -> int:
    return program_of(text).run(variables)


def refused_cost(text: str, *, limit: int = LIMITS.fields, **variables: object) -> TooLarge:
    with pytest.raises(TooLarge) as caught:
        refuse_cost(program_of(text), variables, limit)
    return caught.value


def refusal_of(text: str, **limits: int) -> HowdahError:
    operation = select_operation(parse(text), None)
    with pytest.raises(HowdahError) as caught:
        weigh(operation.definition, operation.fragments, RequestLimits(**limits))
    return caught.value


def doubling(levels: int, inside: str, spread: str = "{0} {0}") -> str:
    """Each fragment spreads the next twice: 2^levels copies of `inside` in a few hundred bytes."""
    steps = (
        f"fragment f{level} on Box {{ {spread.format(f'...f{level + 1}')} }}"
        for level in range(levels)
    )
    return "{ ...f0 } " + " ".join(steps) + f" fragment f{levels} on Box {{ {inside} }}"


def test_cost_multiplies_page_sizes() -> None:
    assert cost_of("{ a b { c } }") == 3
    assert cost_of("{ a(first: 10) { b c } }") == 1 + 10 * 2
    assert cost_of("{ a(first: 10) { b(last: 5) { c } } }") == 1 + 10 * (1 + 5)
    assert cost_of("{ a(limit: 3) { ... { b } ...F } } fragment F on Box { c d }") == 1 + 3 * 3


def test_cost_uses_page_sizes_from_variables() -> None:
    text = "query($n: Int = 4, $m: Int) { a(first: $n) { b(first: 2) { c(last: $m) { d } } } }"
    assert cost_of(text, n=10, m=3) == 1 + 10 * (1 + 2 * (1 + 3))
    assert cost_of(text, m=3) == 1 + 4 * (1 + 2 * (1 + 3))
    assert cost_of(text, n=10, m=None) == 1 + 10 * (1 + 2 * (1 + 1))


def test_cost_counts_ids() -> None:
    assert cost_of('{ nodes(ids: ["a", "b", "c"]) { id b(first: 2) { c } } }') == 1 + 3 * (2 + 2)
    text = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert cost_of(text, ids=["x"] * 1_000) == 1 + 1_000
    assert cost_of(text, ids="x") == cost_of(text) == 2
    text = 'query($ids: [ID!]! = ["a", "b", "c"]) { nodes(ids: $ids) { id } }'
    assert (cost_of(text), cost_of(text, ids=["a"])) == (1 + 3, 2)


@pytest.mark.parametrize("sent", [-5, 0, "many", [1], True, None])
def test_cost_counts_invalid_page_size_once(sent: object) -> None:
    assert cost_of("query($n: Int) { a(first: $n) { b } }", n=sent) == 2


@pytest.mark.parametrize("sent", [10**30, 1e300])
def test_cost_of_huge_page_exceeds_limit(sent: object) -> None:
    error = refused_cost("query($n: Int) { a(first: $n) { b } }", n=sent)
    assert "very many fields; at most 500,000" in error.message
    assert error.hint == "Lower `first` of `a` (very many, from `$n`) to 499,999 or less."
    refused_cost("{ a(first: 1" + "0" * 5_000 + ") { b } }")


TREE = "schemas(first: %s) { nodes { tables(first: %s) { nodes { name columns { name } } } } }"


@pytest.mark.parametrize(
    ("text", "variables", "hint"),
    [
        (TREE % (10, 60), {}, "`first` of `tables` (60) to 24 or less."),
        (TREE % (10, "$n"), {"n": 60}, "`first` of `tables` (60, from `$n`) to 24 or less."),
        (TREE % ("$n", "$n"), {"n": 60}, "`first` of `tables` (60, from `$n`) to 15 or less."),
        (TREE % (900, 1), {}, "`first` of `schemas` (900) to 166 or less."),
        (
            TREE % (900, 900),
            {},
            "these together: `first` of `schemas` (900), `first` of `tables` (900).",
        ),
        (
            "...F } fragment F on A { x ...G } fragment G on A { b(last: 2000) { a }",
            {},
            "`last` of `b` (2,000) to 998 or less.",
        ),
        (
            'nodes(ids: ["a", "b"]) { t(first: 999) { a } }',
            {},
            "`first` of `t` (999) to 498 or less.",
        ),
    ],
)
def test_refusal_names_the_argument_to_lower(
    text: str, variables: dict[str, Any], hint: str
) -> None:
    document = "query($n: Int) { " + text + " }"
    error = refused_cost(document, limit=1_000, **variables)
    assert error.hint == f"Lower {hint}"
    if found := re.search(
        r"\((\d[\d,]*).*to (\d+) or less", hint
    ):  # what it says is enough, and needed
        named = found[1].replace(",", "")
        for size, fits in ((int(found[2]), True), (int(found[2]) + 1, False)):
            lowered = document.replace(f": {named})", f": {size})")
            cost = cost_of(lowered, **dict.fromkeys(variables, size))
            assert (cost <= 1_000) is fits


def test_refusal_is_explained_in_time_linear_in_the_document() -> None:
    """Each of 300 lists is a candidate; the values of all steps are computed for few."""
    text = "query($n: Int) " + doubling(300, "a(first: $n) { b }", "{0} x(first: 9) {{ {0} }}")
    began = time.process_time()
    refused_cost(text, n=1_000)
    assert time.process_time() - began < 10


def test_cost_multiplies_variables_per_spread() -> None:
    fragment = "fragment F on Box { b(first: $n) { c } }"
    assert cost_of("query($n: Int) { a(first: 2) { ...F ...F } } " + fragment, n=7) == 1 + 2 * 16


def test_cost_of_nested_spreads_has_one_step_per_fragment() -> None:
    text = "query($n: Int) " + doubling(300, "a(first: $n) { b }")
    operation = select_operation(parse(text), None)
    program = weigh(operation.definition, operation.fragments, LIMITS)
    assert len(program.steps) == 300 + 3  # the fragments, the page in the last one, the operation
    assert program.run({"n": 2}) == 2**53


def test_depth_includes_fragments() -> None:
    text = "{ a { ...F } } fragment F on Box { b { ...G } } fragment G on Box { c { d } }"
    assert "5 levels" in refusal_of("{ a { b { c { d { e } } } } }", depth=4).message
    assert "4 levels" in refusal_of(text, depth=3).message
    operation = select_operation(parse(text), None)
    weigh(operation.definition, operation.fragments, RequestLimits(depth=4))


def test_aliases_and_directives_count_per_spread() -> None:
    assert "4 aliases" in refusal_of(doubling(2, "x: a"), aliases=3).message
    assert "4 directives" in refusal_of(doubling(2, "a @skip(if: true)"), directives=3).message
    variables = "query($a: Int @one, $b: Int @two) @three { a }"
    assert "3 directives" in refusal_of(variables, directives=2).message
    assert isinstance(refusal_of(doubling(200, "x: a")), TooLarge)


@pytest.mark.parametrize(
    "text",
    [
        'mutation { a: signIn(email: "a") b: signIn(email: "b") }',
        "mutation { ...F ...F } fragment F on Mutation { signIn }",
        doubling(20, "signIn"),
        "mutation { ... { signIn } ... @skip(if: true) { signIn } }",
    ],
)
def test_sign_in_is_limited_to_one_per_document(text: str) -> None:
    assert refusal_of(text).message == "The operation has more than one signIn."


@pytest.mark.parametrize(
    "text",
    [
        "{ ...F } fragment F on Box { ...F }",
        "{ ...F } fragment F on Box { a { ...G } } fragment G on Box { ... { b { ...F } } }",
        "{ a } fragment F on Box { ...G } fragment G on Box { ...F }",
    ],
)
def test_fragment_cycle_is_refused(text: str) -> None:
    assert isinstance(refusal_of(text), BadInput)


def test_fragment_chain_deeper_than_stack_is_measured() -> None:
    links = "".join(f"fragment f{i} on Box {{ ...f{i + 1} }}" for i in range(1_000))
    assert cost_of("{ ...f0 }" + links + "fragment f1000 on Box { a }") == 1


def test_unknown_fragment_is_left_to_validation() -> None:
    assert cost_of("{ a ...Missing }") == 1


def test_introspection_query_is_within_limits() -> None:
    text = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
        one_of=True,
    )
    operation = select_operation(parse_document(text, LIMITS), None)
    program = weigh(operation.definition, operation.fragments, LIMITS)
    assert program.introspects
    refuse_cost(program, {}, LIMITS.fields)


WHOLE_TYPE = """fragment T on __Type { name fields { name args { ...I } type { ...R } }
  inputFields { ...I } interfaces { ...R } enumValues { name } possibleTypes { ...R } }
fragment I on __InputValue { name type { ...R } }
fragment R on __Type { name ofType { name ofType { name ofType { name ofType { name } } } } }"""


def test_introspection_repeated_by_aliases_exceeds_cost() -> None:
    def asked(times: int, field: str = "__schema { types { ...T } }") -> str:
        return "{ " + " ".join(f"a{n}: {field}" for n in range(times)) + " } " + WHOLE_TYPE

    for text in (asked(2), asked(49, '__type(name: "Query") { ...T }')):
        refuse_cost(program_of(text), {}, LIMITS.fields)
    assert refused_cost(asked(49)).hint == "Split it into several operations."
    aliased = " ".join(f"a{n}: types {{ ...T }}" for n in range(49))
    refused_cost("{ __schema { " + aliased + " } } " + WHOLE_TYPE)


def test_introspection_estimates_do_not_apply_to_own_lists() -> None:
    ours = [type_ for name, type_ in schema._schema.type_map.items() if not name.startswith("__")]
    names = {
        name
        for type_ in ours
        for name, field in getattr(type_, "fields", {}).items()
        if "first" not in getattr(field, "args", ())  # a page has its own size
    }
    assert "node" in names
    assert names.isdisjoint(_INTROSPECTION_LISTS)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 90_000,
        "{ a(x: " + "[" * 90_000,
        "{ a(x: " + "{ x: " * 10_000,
        "{a" * 10_000,
        "{ " + "a " * 10_000 + "}",
        "#\n" * 10_000 + "{ a }",
        "{ a " + "@skip(if: true) " * 5_000 + "}",
    ],
    ids=["braces", "lists", "objects", "nested", "fields", "comments", "directives"],
)
def test_parsing_stops_at_token_limit(text: str) -> None:
    with pytest.raises(GraphQLError):
        parse_document(text, LIMITS)


def test_parsing_refuses_too_long_document() -> None:
    with pytest.raises(TooLarge, match="100,001 characters"):
        parse_document(" " * 100_001, LIMITS)
