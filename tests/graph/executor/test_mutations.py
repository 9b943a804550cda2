"""Mutations: one field after the other, and what a failure among them leaves."""

import pytest

from tests.graph.executor.compare import run_both


@pytest.mark.parametrize(
    "query",
    [
        "mutation { add double a: add(by: 3) b: double }",
        "mutation { double add refuse a: add }",
        "mutation { add stumble { street owner { name } } double }",
        "mutation { ...M add } fragment M on Mutation { double a: add(by: 5) __typename }",
    ],
)
@pytest.mark.parametrize("faults", [0.0, 0.5])
async def test_says_the_same(query: str, faults: float) -> None:
    await run_both(query, faults=faults)


async def test_fields_run_in_order() -> None:
    result = await run_both("mutation { add double a: add(by: 3) b: double }")
    assert result.data == {"add": 2, "double": 4, "a": 7, "b": 14}


async def test_nothing_runs_after_a_failure_that_nulls_all() -> None:
    result = await run_both("mutation { add refuse double }")
    assert result.data is None
    assert result.errors
    assert [error.message for error in result.errors] == ["refused at 2"]
