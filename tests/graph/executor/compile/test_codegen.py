"""Generated functions show their source in tracebacks, and free it with their plan."""

import gc
import linecache
import traceback

from graphql import parse

from graph.executor import Plan, compile_plan
from graph.executor.compile.codegen import compile_function
from tests.graph.executor.world import core_schema


async def failure(plan: Plan) -> BaseException:
    result = await plan.execute(context=None, variables=None, root=object())
    assert result.errors
    error = result.errors[0].original_error
    assert error is not None
    return error


def generated_file(error: BaseException) -> str:
    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next(name for name in names if name.startswith("howdah-plan:"))


async def test_traceback_shows_the_line_of_a_generated_function() -> None:
    plan = compile_plan(core_schema, parse("{ shown: nickname }"), None)
    text = "".join(traceback.format_exception(await failure(plan)))
    assert "v0 = source.nickname" in text


async def test_source_is_freed_with_the_last_plan_that_uses_it() -> None:
    plan = compile_plan(core_schema, parse("{ freed: nickname }"), None)
    twin = compile_plan(core_schema, parse("{ freed: nickname } "), None)
    filename = generated_file(await failure(plan))
    assert generated_file(await failure(twin)) == filename
    compile_function.cache_clear()
    del plan
    gc.collect()
    assert filename in linecache.cache
    del twin
    gc.collect()
    assert filename not in linecache.cache


def test_source_is_freed_when_no_plan_uses_it() -> None:
    before = set(linecache.cache)
    for number in range(300):
        compile_function(f"def build(source, path, run):\n    return {number}")
    compile_function.cache_clear()
    gc.collect()
    left = set(linecache.cache) - before
    assert not [name for name in left if name.startswith("howdah-plan:")]
