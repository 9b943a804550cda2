"""Running a query through both executors and comparing every word of what they say."""

import re
from collections.abc import Mapping
from typing import Any

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, parse, validate

from graph.executor import compile_plan
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from tests.graph.executor.rows import Row
from tests.graph.executor.world import core_schema


def plain(value: object) -> str:
    """A text for comparing: shows the order of keys, hides addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def described(errors: list[GraphQLError] | None) -> list[tuple[Any, ...]] | None:
    if errors is None:
        return None
    return [
        (
            plain(error.message),
            error.path,
            error.locations,
            type(error.original_error),
            error.extensions,
        )
        for error in errors
    ]


def assert_same(compiled: ExecutionResult, core: ExecutionResult) -> None:
    assert plain(compiled.data) == plain(core.data)
    assert described(compiled.errors) == described(core.errors)


async def run_both(
    query: str,
    variables: Mapping[str, Any] | None = None,
    *,
    operation_name: str | None = None,
    seed: str = "root",
    faults: float = 0.0,
    schema: GraphQLSchema = core_schema,
    valid: bool = True,
) -> ExecutionResult:
    """Execute with both, compare, and hand on the common result."""
    document = parse(query)
    if valid:
        assert validate(schema, document) == []
    plan = compile_plan(schema, document, operation_name)
    assert plan.compiled
    core = CoreProgram(schema, select_operation(document, operation_name), hide_suggestions=False)
    expected = await core.execute(
        context={"count": 1}, variables=variables, root=Row(seed, faults=faults)
    )
    for _ in range(2):  # the second time everything is there already
        result = await plan.execute(
            context={"count": 1}, variables=variables, root=Row(seed, faults=faults)
        )
        assert_same(result, expected)
    return result
