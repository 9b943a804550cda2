"""Subscriptions: equal streams of results, and closed sources."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult, parse

from graph.executor import compile_plan
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from graph.executor.plan import CompiledProgram
from tests.graph.executor.compare import Said, said
from tests.graph.executor.rows import Row
from tests.graph.executor.world import core_schema

FIELDS = "name age partner { name } friends { name } home { owner { id } }"


async def all_of(
    stream: AsyncIterator[ExecutionResult] | ExecutionResult,
) -> list[Said | str]:
    if isinstance(stream, ExecutionResult):
        return [said(stream)]
    results: list[Said | str] = []
    try:
        async for result in stream:
            results.append(said(result))  # noqa: PERF401 - what came before an error counts
    except ValueError as error:
        results.append(f"broken off: {error}")
    return results


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("subscription { ticks }", None),
        ("subscription { n: ticks(to: 1) }", None),
        ("subscription($to: Int!) { ticks(to: $to) }", {"to": 5}),
        ("subscription($to: Int!) { ticks(to: $to) }", {"to": "five"}),
        (f"subscription {{ arrivals {{ {FIELDS} }} }}", None),
        (f"subscription {{ arrivals(faults: 0.4) {{ {FIELDS} }} }}", None),
        ("subscription { breaks }", None),
        ("subscription { unwilling }", None),
        ("subscription { guarded }", None),
    ],
)
@pytest.mark.parametrize("faults", [0.0, 1.0])
async def test_subscription_equals_graphql_core(
    query: str, variables: dict[str, Any] | None, faults: float
) -> None:
    document = parse(query)
    plan = compile_plan(core_schema, document, None)
    assert isinstance(plan, CompiledProgram)
    core = CoreProgram(core_schema, select_operation(document, None), hide_suggestions=False)
    root = Row("root", faults=faults)
    expected = await all_of(await core.subscribe(context={}, variables=variables, root=root))
    assert await all_of(await plan.subscribe(context={}, variables=variables, root=root)) == (
        expected
    )


@strawberry.type
class Query:
    unused: int | None


async def test_subscription_closes_source_when_abandoned() -> None:
    closed = asyncio.Event()

    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def ticks(self) -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                closed.set()

    schema = strawberry.Schema(Query, subscription=Subscription)
    plan = compile_plan(schema._schema, parse("subscription { ticks }"), None)
    stream = await plan.subscribe(context=None, variables=None)
    assert not isinstance(stream, ExecutionResult)
    assert (await anext(stream)).data == {"ticks": 1}
    await stream.aclose()  # type: ignore[attr-defined]  # ours are generators
    assert closed.is_set()


async def test_subscription_reports_result_that_is_no_stream() -> None:
    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def ticks(self) -> AsyncIterator[int]:
            return [1]  # type: ignore[return-value]  # the mistake

    schema = strawberry.Schema(Query, subscription=Subscription)._schema
    document = parse("subscription { ticks }")
    core = CoreProgram(schema, select_operation(document, None), hide_suggestions=False)
    expected = await core.subscribe(context=None, variables=None, root=None)
    result = await compile_plan(schema, document, None).subscribe(context=None, variables=None)
    assert isinstance(result, ExecutionResult)
    assert isinstance(expected, ExecutionResult)
    assert said(result) == said(expected)
    assert result.errors
