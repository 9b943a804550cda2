"""An error or a cancellation ends pending resolvers and leaves nothing behind."""

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest
import pytest_asyncio
import strawberry
from graphql import parse

from graph.executor import compile_plan
from tests.fixtures.patience import patience

# A loop for each test, without the tasks that other tests left in the loop of the session.
pytestmark = pytest.mark.asyncio(loop_scope="function")


class Stage:
    """A log of events in order, and the futures that resolvers await."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.started = asyncio.Event()
        self.future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def wait_forever(self, name: str) -> str:
        self.log.append(f"{name} began")
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.log.append(f"{name} ended")
        return name


Info = strawberry.Info[Stage, None]


@strawberry.type
class Thing:
    @strawberry.field
    async def waits(self, info: Info) -> str:
        return await info.context.wait_forever("waits")

    @strawberry.field
    async def fails(self) -> str:
        await asyncio.sleep(0)
        raise ValueError("failed")

    @strawberry.field
    def fails_now(self) -> str:
        raise ValueError("failed now")

    @strawberry.field
    def future(self, info: Info) -> str:
        return info.context.future  # type: ignore[return-value]  # resolvers may give awaitables

    @strawberry.field
    async def thing(self) -> "Thing":
        return Thing()

    @strawberry.field
    def things(self) -> "list[Thing]":
        return [Thing(), Thing()]


@strawberry.type
class Query:
    @strawberry.field
    async def thing(self) -> Thing | None:
        return Thing()

    @strawberry.field
    def things(self) -> list[Thing | None]:
        return [Thing(), Thing()]


schema = strawberry.Schema(Query)._schema


def run(query: str, stage: Stage) -> Awaitable[Any]:
    return compile_plan(schema, parse(query), None).execute(context=stage, variables=None)


@pytest_asyncio.fixture(loop_scope="function")
async def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("{ thing { waits fails } }", 1),
        ("{ thing { fails waits } }", 1),
        ("{ thing { thing { waits } fails things { waits thing { waits } } } }", 1),
        ("{ thing { thing { thing { waits } } failsNow } }", 1),
        ("{ things { waits fails thing { waits } } }", 2),
        ("{ thing { things { waits failsNow } } }", 1),
    ],
)
async def test_error_cancels_needless_resolvers(query: str, errors: int, stage: Stage) -> None:
    result = await run(query, stage)
    assert result.data in ({"thing": None}, {"things": [None, None]})
    assert len(result.errors) == errors
    del result
    gc.collect()  # a coroutine never awaited would warn here, and fail the test
    assert stage.log.count("waits began") == stage.log.count("waits ended")
    assert not _resolving()


async def test_error_does_not_cancel_foreign_future(stage: Stage) -> None:
    result = await run("{ thing { future failsNow } }", stage)
    assert result.data == {"thing": None}
    assert not stage.future.done()
    stage.future.set_exception(ValueError("nobody waits for this"))
    await asyncio.sleep(0)
    stage.future = asyncio.get_running_loop().create_future()
    gc.collect()  # an error never read would be reported here


async def test_cancellation_cancels_resolvers(stage: Stage) -> None:
    query = "{ thing { waits thing { waits } } things { waits } }"
    task = asyncio.ensure_future(run(query, stage))
    async with patience():
        await stage.started.wait()
    for _ in range(5):  # every level begins
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    assert stage.log.count("waits began") == 4
    assert stage.log.count("waits ended") == 4
    assert not _resolving()


async def test_cancellation_at_any_step_leaves_no_tasks(stage: Stage) -> None:
    query = "{ thing { waits thing { waits things { waits } } } things { thing { waits } } }"
    for turns in range(8):
        task = asyncio.ensure_future(run(query, stage))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
        assert not _resolving()
    assert stage.log.count("waits began") == stage.log.count("waits ended")


def _resolving() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}
