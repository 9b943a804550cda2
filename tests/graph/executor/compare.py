"""Runs a query in both executors and compares the complete results."""

import asyncio
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from graphql import DocumentNode, ExecutionResult, GraphQLError, GraphQLSchema, parse, validate

from graph.executor import compile_plan
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from graph.executor.plan import CompiledProgram
from tests.graph.executor.rows import Row
from tests.graph.executor.world import core_schema

Described: TypeAlias = tuple[Any, ...]
Said: TypeAlias = tuple[str, list[Described] | None]


def plain(value: object) -> str:
    """A text for comparisons: shows the order of keys, hides addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def described(errors: list[GraphQLError] | None) -> list[Described] | None:
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


def said(result: ExecutionResult) -> Said:
    return plain(result.data), described(result.errors)


def assert_same(result: ExecutionResult, expected: Said) -> None:
    """Asserts equal data and equal errors in equal order, with one exception.

    When an error nulls a parent at once, graphql-core lets the parent's other fields go on in
    the background, and what happens to them may or may not be reported. We end them.
    """
    data, errors = said(result)
    assert data == expected[0]
    if errors == expected[1]:
        return
    assert errors
    assert expected[1]
    reported = iter(expected[1])
    assert all(error in reported for error in errors), "in the same order"
    for error in expected[1]:
        assert error in errors or is_nulled(result.data, error[1][:-1])


def is_nulled(data: Any, path: list[str | int]) -> bool:
    """Whether this position of the response is null, by itself or with a parent."""
    for key in path:
        if data is None:
            return True
        data = data[key]
    return data is None


async def said_by_core(
    core: CoreProgram, variables: Mapping[str, Any] | None, context: object, root: object
) -> Said:
    """Closes coroutines that graphql-core leaves behind after an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result = await core.execute(context=context, variables=variables, root=root)
        words = said(result)
        for _ in range(10 if result.errors else 0):  # awaits fields that continue in the background
            await asyncio.sleep(0)
        for error in result.errors or []:
            let_go(error)
    return words


def let_go(error: BaseException | None) -> None:
    """Breaks the reference cycles of an error's frames, so that they are freed now."""
    while error is not None:
        error.__traceback__ = None
        let_go(getattr(error, "original_error", None))
        error = error.__cause__ or error.__context__


async def compare(
    schema: GraphQLSchema,
    document: DocumentNode,
    variables: Mapping[str, Any] | None,
    make_root: Callable[[], object],
) -> ExecutionResult:
    """Executes with both, compares, and returns the result."""
    plan = compile_plan(schema, document, None)
    assert isinstance(plan, CompiledProgram)
    core = CoreProgram(schema, select_operation(document, None), hide_suggestions=False)
    expected = await said_by_core(core, variables, {"count": 1}, make_root())
    for _ in range(2):  # the second time with filled caches
        result = await plan.execute(context={"count": 1}, variables=variables, root=make_root())
        assert_same(result, expected)
    return result


async def run_both(
    query: str,
    variables: Mapping[str, Any] | None = None,
    *,
    seed: str = "root",
    faults: float = 0.0,
    valid: bool = True,
) -> ExecutionResult:
    """Compares the executors on the rows of `world`."""
    document = parse(query)
    assert not valid or validate(core_schema, document) == []
    return await compare(core_schema, document, variables, lambda: Row(seed, faults=faults))
