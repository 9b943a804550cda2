"""Resolvers that answer for all rows of a list give what each row's own resolver gives."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import strawberry
from graphql import ExecutionResult, parse

from graph.executor import ResultTooLarge, compile_plan
from graph.executor.document import select_operation
from graph.executor.execute import run as run_module
from graph.executor.fallback import CoreProgram
from graph.executor.hints import accepting, resolving_many
from graph.kit.fields import field
from tests.graph.executor.compare import assert_same, said_by_core


class Shelf(NamedTuple):
    number: int
    faults: float = 0.0

    def values(self, field: str) -> Any:
        """The value of a field, the same in both executors: sometimes an error or null."""
        chance = random.Random(f"{self.number}{field}")  # noqa: S311 - no secret
        if chance.random() < self.faults:
            return chance.choice([ValueError(f"{field} of {self.number}"), None])
        return [Shelf(self.number * 10 + at, self.faults) for at in range(chance.randrange(4))]


calls: list[tuple[str, int]] = []


def many(name: str) -> Any:
    """A field whose resolver has a form for several parents."""

    async def resolve_many(
        parents: Sequence[Shelf], *, info: strawberry.Info, least: int = 0
    ) -> Sequence[Any]:
        assert info.field_name == name
        refuse(least)
        calls.append((name, len(parents)))
        await asyncio.sleep(0)
        return [parent.values(name) for parent in parents]

    def start_many(parents: Sequence[Shelf], *, info: strawberry.Info, least: int = 0) -> Any:
        if least == 2:
            raise ValueError("refused at once")
        return resolve_many(parents, info=info, least=least)

    @resolving_many(start_many)
    async def resolve(root: strawberry.Parent[Shelf], info: strawberry.Info, least: int = 0) -> Any:
        refuse(least)
        calls.append((name, 1))
        value = root.values(name)
        if isinstance(value, Exception):
            raise value
        return value

    return field("Shelves.")(resolve)


def refuse(least: int) -> None:
    if least == 1:
        raise ValueError("refused later")
    if least == 2:
        raise ValueError("refused at once")


@accepting(Shelf)
def is_shelf(value: object, _info: object) -> bool:
    return isinstance(value, Shelf)


@strawberry.type(name="Shelf")
class ShelfType:
    is_type_of = staticmethod(is_shelf)
    number: int
    books: list["ShelfType"] = many("books")
    boxes: list["ShelfType | None"] | None = many("boxes")

    @strawberry.field
    async def later(root: strawberry.Parent[Shelf]) -> int:
        await asyncio.sleep(0)
        if root.number % 7 == 3 and root.faults:
            raise ValueError("later")
        return root.number


@strawberry.type
class Query:
    @field("Shelves.", type=list[ShelfType | None])
    def shelves(root: strawberry.Parent[Any], count: int = 5) -> Any:
        return [Shelf(number, root.faults) for number in range(count)]

    @field("Shelves.", type=list[ShelfType] | None)
    def strict(root: strawberry.Parent[Any]) -> Any:
        return [Shelf(number, root.faults) for number in range(3)]

    @field("Shelves.", type=list[ShelfType | None])
    def mixed(root: strawberry.Parent[Any]) -> Any:
        return [Shelf(1), None, ValueError("no shelf"), Shelf(2)]


schema = strawberry.Schema(Query)._schema
QUERIES = [
    "{ shelves { number boxes { number } } }",
    "{ shelves { first: books { number } later second: books { later } __typename } }",
    "{ shelves { boxes { books { number boxes { later } } } later } strict { boxes { later } } }",
    "{ strict { books { number later } } }",
    "{ shelves(count: 1) { boxes { number } } mixed { number boxes { number } } }",
    "{ shelves { a: boxes(least: 1) { number } b: boxes(least: 2) { later } c: boxes { later } } }",
]


@pytest.mark.parametrize("faults", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("query", QUERIES)
async def test_batched_fields_equal_those_of_each_row(query: str, faults: float) -> None:
    """The order of errors is not compared: it depends on which resolver returns first."""
    document, shelf = parse(query), Shelf(0, faults)
    core = CoreProgram(schema, select_operation(document, None), hide_suggestions=False)
    data, errors = await said_by_core(core, None, None, shelf)
    result = await compile_plan(schema, document, None).execute(
        context=None, variables=None, root=shelf
    )
    found = sorted(result.errors or [], key=lambda error: str(error.path))
    expected = sorted(errors or [], key=lambda error: str(error[1]))
    assert_same(ExecutionResult(result.data, found or None), (data, expected or None))


async def run(query: str, **limits: Any) -> None:
    calls.clear()
    plan = compile_plan(schema, parse(query), None)
    result = await plan.execute(context=None, variables=None, root=Shelf(0), **limits)
    assert result.errors is None


async def test_batched_field_is_resolved_once_for_a_list() -> None:
    await run("{ shelves(count: 40) { boxes { number } a: books { later } later } }")
    assert calls == [("boxes", 40), ("books", 40)]
    await run("{ shelves(count: 1) { boxes { number } } }")
    assert calls == [("boxes", 1)]


async def test_batched_fields_count_towards_the_limit() -> None:
    query = "{ shelves(count: 40) { boxes { number boxes { number } } } }"
    await run(query, max_fields=10_000)
    with pytest.raises(ResultTooLarge) as caught:
        await run(query, max_fields=50)
    assert caught.value.path[:1] == ["shelves"]


async def test_field_of_all_rows_of_a_list_is_awaited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = compile_plan(schema, parse("{ shelves(count: 50) { a: boxes { number } } }"), None)
    root = Shelf(0)
    monkeypatch.setattr(run_module, "MAX_AWAITED", 1)
    assert not (await plan.execute(context=None, variables=None, root=root)).errors
    monkeypatch.setattr(run_module, "MAX_AWAITED", 0)
    with pytest.raises(ResultTooLarge, match="lookup"):
        await plan.execute(context=None, variables=None, root=root)
