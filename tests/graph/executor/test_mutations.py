"""Mutations: serial execution, and the effect of errors."""

from collections.abc import Callable
from typing import Any

import pytest
from graphql import parse

from graph.executor import compile_plan
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from graph.executor.plan import CompiledProgram
from tests.graph.executor.compare import run_both
from tests.graph.executor.rows import Row
from tests.graph.executor.world import core_schema


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
async def test_mutation_equals_graphql_core(query: str, faults: float) -> None:
    await run_both(query, faults=faults)


async def test_mutation_fields_run_in_order() -> None:
    result = await run_both("mutation { add double a: add(by: 3) b: double }")
    assert result.data == {"add": 2, "double": 4, "a": 7, "b": 14}


async def test_mutation_stops_after_error_that_nulls_data() -> None:
    result = await run_both("mutation { add refuse double }")
    assert result.data is None
    assert result.errors
    assert [error.message for error in result.errors] == ["refused at 2"]


async def run_compiled(query: str, before: Callable[[Any], object], context: Any) -> Any:
    plan = compile_plan(core_schema, parse(query), None, before_mutation_field=before)
    assert isinstance(plan, CompiledProgram)
    return await plan.execute(context=context, variables=None, root=Row("root"))


async def run_by_core(query: str, before: Callable[[Any], object], context: Any) -> Any:
    operation = select_operation(parse(query), None)
    core = CoreProgram(core_schema, operation, hide_suggestions=False, before_step=before)
    return await core.execute(context=context, variables=None, root=Row("root"))


@pytest.mark.parametrize("run", [run_compiled, run_by_core])
async def test_before_mutation_field_is_called_once_before_each_root_field(run: Any) -> None:
    seen: list[int] = []
    result = await run(
        "mutation { add stumble { street } double }",
        lambda context: seen.append(context["count"]),
        {"count": 1},
    )
    assert not result.errors
    assert seen[0] == 1
    assert seen[1] == 2
    assert len(seen) == 3


async def test_before_mutation_field_is_not_called_for_a_query() -> None:
    seen: list[object] = []
    plan = compile_plan(core_schema, parse("{ nickname }"), None, before_mutation_field=seen.append)
    await plan.execute(context={"count": 1}, variables=None, root=Row("root"))
    assert seen == []
