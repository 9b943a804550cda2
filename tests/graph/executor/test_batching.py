"""Loaders run one batch for each level of a query, in both executors."""

import strawberry
from graphql import parse
from strawberry.dataloader import DataLoader

from graph.executor import compile_plan
from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from tests.graph.executor.compare import said


class Loaders:
    """Two loaders that record their keys."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.files: DataLoader[int, list[int]] = DataLoader(load_fn=self.load_files)
        self.owners: DataLoader[int, int] = DataLoader(load_fn=self.load_owners)

    async def load_files(self, buckets: list[int]) -> list[list[int]]:
        self.batches.append(("files", list(buckets)))
        return [[bucket * 10, bucket * 10 + 1] for bucket in buckets]

    async def load_owners(self, ids: list[int]) -> list[int]:
        self.batches.append(("owners", list(ids)))
        return [id_ + 1000 for id_ in ids]


Info = strawberry.Info[Loaders, None]


@strawberry.type
class Owner:
    @strawberry.field
    def id(root: strawberry.Parent[int]) -> int:
        return root


@strawberry.type
class File:
    @strawberry.field
    def id(root: strawberry.Parent[int]) -> int:
        return root

    @strawberry.field
    async def owner(root: strawberry.Parent[int], info: Info) -> Owner:
        return await info.context.owners.load(root)  # type: ignore[return-value]  # ids stand for owners

    @strawberry.field
    def lazy_owner(root: strawberry.Parent[int], info: Info) -> Owner:
        return info.context.owners.load(root)  # type: ignore[return-value]  # a future of an id


@strawberry.type
class Bucket:
    @strawberry.field
    async def files(root: strawberry.Parent[int], info: Info) -> list[File]:
        return await info.context.files.load(root)  # type: ignore[return-value]  # ids stand for files


@strawberry.type
class Query:
    @strawberry.field
    async def buckets(self, first: int = 3) -> list[Bucket]:
        return list(range(first))  # type: ignore[arg-type]  # ids stand for buckets


schema = strawberry.Schema(Query)._schema
QUERY = """{
  buckets { files { id owner { id } lazyOwner { id } } }
  more: buckets(first: 1) { files { id } also: files { owner { id } } }
}"""


async def test_loaders_run_one_batch_per_level() -> None:
    document = parse(QUERY)
    plan = compile_plan(schema, document, None)
    core = CoreProgram(schema, select_operation(document, None), hide_suggestions=False)
    for_core, for_plan = Loaders(), Loaders()
    expected = await core.execute(context=for_core, variables=None, root=None)
    result = await plan.execute(context=for_plan, variables=None)
    assert said(result) == said(expected)
    assert result.errors is None
    assert for_plan.batches == for_core.batches
    assert for_plan.batches == [
        ("files", [0, 1, 2]),
        ("owners", [0, 1, 10, 11, 20, 21]),
    ]
