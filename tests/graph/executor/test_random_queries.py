"""Random queries on random data with random failures give equal results."""

from typing import Any

from graphql import parse, validate
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.graph.executor.compare import run_both
from tests.graph.executor.queries import queries, values
from tests.graph.executor.world import core_schema


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(
    query=queries(),
    variables=values,
    seed=st.sampled_from(["a", "b", "c", "d", "e"]),
    faults=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
)
async def test_random_query_equals_graphql_core(
    query: str, variables: dict[str, Any], seed: str, faults: float
) -> None:
    assume(not validate(core_schema, parse(query)))
    await run_both(query, variables, seed=seed, faults=faults)
