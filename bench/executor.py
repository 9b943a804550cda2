"""The compiled executor against graphql-core: `python -m bench.executor`.

Both run the same documents in one process, in alternating calls; the table gives medians.
Results are compared before anything is timed.
"""

import asyncio
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import graphql
import strawberry

from graph.executor import compile_plan
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram


class TaskRow(NamedTuple):
    id: str
    title: str
    description: str | None
    completed: bool
    position: int
    version: int


ROWS = [TaskRow(f"task_{n}", f"Task {n}", None, n % 2 == 0, n, 1) for n in range(1000)]


@strawberry.type
class Task:
    id: strawberry.ID
    title: str
    description: str | None
    completed: bool
    position: int
    version: int


@strawberry.interface
class Node:
    id: strawberry.ID


@strawberry.type
class CheckedTask(Node):
    title: str
    description: str | None
    completed: bool
    position: int
    version: int

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, TaskRow)


@strawberry.type
class Bucket:
    @strawberry.field
    @staticmethod
    def name(root: strawberry.Parent[int]) -> str:
        return f"bucket {root}"

    @strawberry.field
    @staticmethod
    async def tasks(root: strawberry.Parent[int], first: int) -> list[Task]:
        return ROWS[root : root + first]  # type: ignore[return-value]  # rows in place of objects


@strawberry.type
class Query:
    @strawberry.field
    async def tasks(self, first: int) -> list[Task]:
        return ROWS[:first]  # type: ignore[return-value]  # rows in place of objects

    @strawberry.field
    async def checked_tasks(self, first: int) -> list[CheckedTask]:
        return ROWS[:first]  # type: ignore[return-value]  # rows in place of objects

    @strawberry.field
    async def nodes(self, first: int) -> list[Node]:
        return ROWS[:first]  # type: ignore[return-value]  # rows in place of objects

    @strawberry.field
    async def task(self, id: strawberry.ID) -> Task | None:  # noqa: ARG002 - named by GraphQL
        return ROWS[0]  # type: ignore[return-value]  # rows in place of objects

    @strawberry.field
    def buckets(self) -> list[Bucket]:
        return list(range(50))  # type: ignore[arg-type]  # numbers in place of objects


FIELDS = "id title description completed position version"
CASES = {
    "1,000 rows x 6 fields": f"{{ tasks(first: 1000) {{ {FIELDS} }} }}",
    "1,000 rows, is_type_of": f"{{ checkedTasks(first: 1000) {{ {FIELDS} }} }}",
    "1,000 rows of an interface": (
        f"{{ nodes(first: 1000) {{ ... on CheckedTask {{ {FIELDS} }} }} }}"
    ),
    "50 rows x 6 fields": f"{{ tasks(first: 50) {{ {FIELDS} }} }}",
    "one object, 6 fields": f'{{ task(id: "task_1") {{ {FIELDS} }} }}',
    "50 objects, 20 rows x 6 each": f"{{ buckets {{ name tasks(first: 20) {{ {FIELDS} }} }} }}",
}


async def time_us(run: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await run()
    return (time.perf_counter() - start) * 1e6


async def compare(query: str, *, seconds: float) -> tuple[float, float]:
    """Median times of graphql-core and of the plan."""
    schema = strawberry.Schema(Query, types=[CheckedTask])._schema  # noqa: SLF001 - graphql-core's schema
    document = graphql.parse(query)
    plan = compile_plan(schema, document, None)
    core = CoreProgram(schema, select_operation(document, None), hide_suggestions=False)

    def run_plan() -> Awaitable[object]:
        return plan.execute(context=None, variables=None)

    def run_core() -> Awaitable[object]:
        return core.execute(context=None, variables=None, root=None)

    if await run_plan() != await run_core():
        raise SystemExit(f"Results differ: {query}")
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        times.append((await time_us(run_core), await time_us(run_plan)))
    return statistics.median(core for core, _ in times), statistics.median(
        plan for _, plan in times
    )


async def main() -> None:
    quick = "--quick" in sys.argv
    print(f"Python {platform.python_version()}, graphql-core {graphql.__version__}")
    print(f"{'':30} {'graphql-core':>14} {'compiled':>11} {'ratio':>7}")
    for name, query in CASES.items():
        core, plan = await compare(query, seconds=0.05 if quick else 3)
        print(f"{name:30} {core:11,.1f} µs {plan:8,.1f} µs {core / plan:6.1f}x")


if __name__ == "__main__":
    asyncio.run(main())
