from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import strawberry
from graphql import parse

from db.kit.lists.paging import Window
from graph.context import Info
from graph.executor import compile_plan
from graph.executor.compile import strawberry_adapter
from graph.executor.plan import CompiledProgram
from graph.kit.fields import argument, field
from graph.kit.paging import paged

CONTEXT = SimpleNamespace(services=SimpleNamespace(settings=SimpleNamespace(max_page_size=10)))


@strawberry.type
class Shelf:
    @field("Books.", type=str)
    @paged
    async def books(root: strawberry.Parent[str], info: Info, window: Window) -> Any:
        return f"{root}: {window}"


@strawberry.type
class Query:
    @field("Books.", type=str)
    @paged
    async def books(
        self,
        info: Info,
        window: Window,
        under: Annotated[str | None, argument("Folder.")] = None,
    ) -> Any:
        return f"{under}: {window}"

    @field("Shelf.", type=Shelf)
    def shelf(self) -> Any:
        return "oak"


schema: Any = strawberry.Schema(query=Query)
ASKED = """query($n: Int) {
  books(first: $n, after: "a", under: "b") last: books(last: $n, before: "c")
  shelf { books(first: 2) }
}"""
WINDOWS = {
    "books": f"b: {Window(3, after='a')}",
    "last": f"None: {Window(3, backward=True, before='c')}",
    "shelf": {"books": f"oak: {Window(2)}"},
}


def test_paged_declares_four_arguments_in_place_of_the_window() -> None:
    names = list(schema._schema.query_type.fields["books"].args)
    assert names == ["first", "after", "last", "before", "under"]


async def test_paged_hands_the_window_to_resolvers_of_roots_and_of_rows() -> None:
    result = await schema.execute(ASKED, variable_values={"n": 3}, context_value=CONTEXT)
    assert (result.data, result.errors) == (WINDOWS, None)


async def test_paged_fields_stay_on_the_fast_path_of_the_executor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("Strawberry converted the arguments")

    plan = compile_plan(schema._schema, parse(ASKED), None)
    first = await plan.execute(context=CONTEXT, variables={"n": 3})
    monkeypatch.setattr(strawberry_adapter, "convert_arguments", refuse)
    second = await plan.execute(context=CONTEXT, variables={"n": 3})
    assert isinstance(plan, CompiledProgram)
    assert (first.data, second.data, second.errors) == (WINDOWS, WINDOWS, None)
