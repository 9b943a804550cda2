"""A run stops when its result has too many fields."""

import asyncio
from collections.abc import Sequence

import pytest
import strawberry
from graphql import parse

from graph.executor import ResultTooLarge, compile_plan
from graph.executor.execute import run as run_module
from graph.executor.execute.run import FIELD_CHARACTERS
from graph.executor.hints import LONG_TEXT, resolving_many


async def tell_many(boxes: Sequence["Box"], **_: object) -> Sequence[str | None]:
    return [box.story for box in boxes]


@resolving_many(tell_many)
async def tell(root: strawberry.Parent["Box"]) -> str | None:
    return root.story


@strawberry.type
class Box:
    @strawberry.field
    def name(self) -> str:
        return "box"

    story: str = strawberry.field(default="x" * 1_000, metadata={LONG_TEXT: "story"})

    @strawberry.field(metadata={LONG_TEXT: "story"})  # type: ignore[untyped-decorator]  # Strawberry's
    def told(self) -> str:
        return self.story

    @strawberry.field(metadata={LONG_TEXT: True})  # type: ignore[untyped-decorator]  # as above
    async def found(self) -> str | None:
        return self.story

    loaded: str | None = strawberry.field(resolver=tell, metadata={LONG_TEXT: True})

    @strawberry.field
    def inner(self) -> "Box":
        return Box()

    @strawberry.field
    async def boxes(self, first: int) -> list["Box"] | None:
        await asyncio.sleep(0)
        return [Box() for _ in range(first)]

    @strawberry.field
    async def bad(self) -> str | None:
        raise ValueError("bad")

    @strawberry.field
    async def later(self, info: strawberry.Info[list[str], None]) -> str | None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            info.context.append("cancelled")
            raise
        return None


schema = strawberry.Schema(query=Box)


async def run(text: str, *, max_fields: float, context: list[str] | None = None) -> None:
    plan = compile_plan(schema._schema, parse(text), None)
    result = await plan.execute(context=context, variables=None, max_fields=max_fields)
    assert not result.errors


async def test_fields_of_every_object_are_counted() -> None:
    text = "{ boxes(first: 3) { name __typename inner { name } end: boxes(first: 0) { name } } }"
    counted = 1 + 3 * (4 + 1)  # when the lists `end` begin
    await run(text, max_fields=counted)
    with pytest.raises(ResultTooLarge, match="more than 15 fields"):
        await run(text, max_fields=counted - 1)


@pytest.mark.parametrize(("a", "b"), [("story", "told"), ("found", "found"), ("told", "loaded")])
async def test_long_text_counts_for_each_of_its_aliases(a: str, b: str) -> None:
    text = f"{{ boxes(first: 3) {{ a: {a} b: {b} }} }}"
    counted = 1 + 3 * (2 + 2 * 1_000 // FIELD_CHARACTERS)
    await run(text, max_fields=counted)
    with pytest.raises(ResultTooLarge, match=f"more than {counted - 1} fields") as caught:
        await run(text, max_fields=counted - 1)
    assert caught.value.path == ["boxes", 2, "b"]


async def test_stopped_run_cancels_the_rest_and_names_the_position() -> None:
    cancelled: list[str] = []
    text = "{ later a: boxes(first: 2) { b: boxes(first: 50) { boxes(first: 1) { name } } } }"
    with pytest.raises(ResultTooLarge) as caught:
        await run(text, max_fields=10, context=cancelled)
    assert [key for key in caught.value.path if isinstance(key, str)][:2] == ["a", "b"]
    assert cancelled == ["cancelled"]


async def test_run_stops_after_so_many_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "MAX_ERRORS", 5)
    plan = compile_plan(schema._schema, parse("query($n: Int!) { boxes(first: $n) { bad } }"), None)
    few = await plan.execute(context=None, variables={"n": 5})
    assert len(few.errors or ()) == 5
    with pytest.raises(ResultTooLarge, match="more than 5 errors") as caught:
        await plan.execute(context=None, variables={"n": 6})
    assert caught.value.path == ["boxes", 5, "bad"]


@pytest.mark.parametrize("fields", ["found", "a: found b: found", "boxes(first: 0) { name }"])
async def test_run_stops_when_it_awaits_too_many_fields(
    monkeypatch: pytest.MonkeyPatch, fields: str
) -> None:
    text = f"query($n: Int!) {{ boxes(first: $n) {{ inner {{ {fields} }} }} }}"
    plan = compile_plan(schema._schema, parse(text), None)
    in_each = max(fields.count("found"), 1)
    monkeypatch.setattr(run_module, "MAX_AWAITED", 1 + 10 * in_each)
    few = await plan.execute(context=None, variables={"n": 10})
    assert not few.errors
    with pytest.raises(ResultTooLarge, match="fields that need a lookup of their own") as caught:
        await plan.execute(context=None, variables={"n": 11})
    assert caught.value.path[:3] == ["boxes", 10, "inner"]


async def test_result_is_not_limited_by_default() -> None:
    plan = compile_plan(schema._schema, parse("{ boxes(first: 5000) { name } }"), None)
    assert not (await plan.execute(context=None, variables=None)).errors
