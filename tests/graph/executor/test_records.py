"""Lists that are built from records give what the same list of rows gives, and what core gives."""

import math
import random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
import strawberry
from graphql import ExecutionResult, parse
from strawberry.schema.config import StrawberryConfig

from db.kit.lists.partial_rows import partial_row
from db.kit.lists.rows import Rows
from graph.executor import Plan, ResultTooLarge, compile_plan
from graph.executor.compile.codegen import RecordsBuilder
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from graph.executor.hints import accepting
from graph.kit.fields import field
from graph.kit.ids import _id_field
from graph.kit.scalars import BigInt, scalar_map
from tests.graph.executor.compare import assert_same, said_by_core

ID = UUID(int=7)


class Shelf(NamedTuple):
    id: Any = ID
    name: Any = "a"
    note: Any = None
    full: Any = True
    places: Any = 3
    size: Any = 1 << 40


@accepting(Shelf)
def is_shelf(value: object, _info: object) -> bool:
    return isinstance(value, Shelf)


@strawberry.type(name="Shelf")
class ShelfType:
    is_type_of = staticmethod(is_shelf)
    id = _id_field("shelf")
    name: str
    note: str | None
    full: bool
    places: int
    size: BigInt

    @strawberry.field
    def doubled(root: strawberry.Parent[Shelf]) -> int:
        return int(root.places * 2)


@strawberry.type
class Query:
    @field("Shelves.", type=list[ShelfType | None])
    def shelves(root: strawberry.Parent[Any]) -> Any:
        return root

    @field("Shelves.", type=list[ShelfType] | None)
    def strict(root: strawberry.Parent[Any]) -> Any:
        return root


schema = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=scalar_map))._schema
PLAIN = "{ shelves { id name note full places size __typename again: name } }"
NAMED = "{ shelves { class: name v1: size v0: note _: full None: places } }"
QUERIES = [PLAIN, NAMED, "{ strict { size id } }", "{ shelves { name doubled } strict { note } }"]
CLASSES: list[type[Shelf]] = [Shelf, type("Shelf", (Shelf,), {"__slots__": ()})]
ODD = [None, 1, 1 << 33, 1.5, "b", False, ValueError("no value"), ID]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each list was built from its records."""
    found: list[bool] = []
    build = RecordsBuilder.__call__

    def noted(self: RecordsBuilder, values: Any, run: Any) -> Any:
        items = build(self, values, run)
        found.append(items is not None)
        return items

    monkeypatch.setattr(RecordsBuilder, "__call__", noted)
    return found


def odd_row(chance: random.Random) -> Shelf:
    """A row in which some values are not of their column's type."""
    row = Shelf()
    for name in chance.sample(Shelf._fields, chance.randrange(3)):
        row = row._replace(**{name: chance.choice(ODD)})
    return row


async def run(query: str, root: object, *, max_fields: float = math.inf) -> ExecutionResult:
    return await run_plan(compile_plan(schema, parse(query), None), root, max_fields)


async def run_plan(plan: Plan, root: object, max_fields: float = math.inf) -> ExecutionResult:
    """Objects made from records as the dictionaries that are encoded like them."""
    found = await plan.execute(context=None, variables=None, root=root, max_fields=max_fields)
    return ExecutionResult(msgspec.to_builtins(found.data), found.errors)


@pytest.mark.parametrize("query", QUERIES)
async def test_records_give_what_rows_give_whatever_the_values(query: str) -> None:
    for seed in range(300):
        chance = random.Random(seed)  # noqa: S311 - no secret
        rows = [odd_row(chance) for _ in range(chance.randrange(4))]
        records = Rows(chance.choice(CLASSES), [tuple(row) for row in rows])
        core = CoreProgram(schema, select_operation(parse(query), None), hide_suggestions=False)
        assert_same(await run(query, records), await said_by_core(core, None, None, rows))


async def test_a_list_of_plain_columns_is_built_from_its_records(built: list[bool]) -> None:
    found = await run(PLAIN, Rows(Shelf, [tuple(Shelf())]))
    assert found.data == {
        "shelves": [
            {
                "id": f"shelf_{ID.hex}",
                "name": "a",
                "note": None,
                "full": True,
                "places": 3,
                "size": str(1 << 40),
                "__typename": "Shelf",
                "again": "a",
            }
        ]
    }
    assert built == [True]


async def test_one_plan_builds_lists_with_other_columns(built: list[bool]) -> None:
    part = partial_row(Shelf, frozenset({"id", "name"}))
    plan = compile_plan(schema, parse("{ shelves { id name } }"), None)
    for rows in (Rows(Shelf, [tuple(Shelf())]), Rows(part, [(ID, "a")]), Rows(Shelf, [])):
        found = await run_plan(plan, rows)
        expected = {"id": f"shelf_{ID.hex}", "name": "a"}
        assert found.data == {"shelves": [expected] * len(rows)}
    assert built == [True, True, True]


async def test_a_field_with_a_resolver_of_its_own_needs_the_rows(built: list[bool]) -> None:
    found = await run("{ shelves { doubled } }", Rows(Shelf, [tuple(Shelf())]))
    assert found.data == {"shelves": [{"doubled": 6}]}
    assert built == [False]


async def test_fields_built_from_records_count_towards_the_limit() -> None:
    rows = Rows(Shelf, [tuple(Shelf())] * 10)
    with pytest.raises(ResultTooLarge):
        await run("{ shelves { id name } strict { id } }", rows, max_fields=15)
    assert (await run("{ shelves { id name } strict { id } }", rows, max_fields=25)).data


async def test_rows_of_another_class_are_no_objects_of_the_type(built: list[bool]) -> None:
    class Other(NamedTuple):
        id: Any = ID
        name: Any = "a"

    found = await run("{ shelves { name } }", Rows(Other, [tuple(Other())]))
    assert found.data == {"shelves": [None]}
    assert found.errors
    assert built == [False]
