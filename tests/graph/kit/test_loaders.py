"""Loaders: batching, caching, errors and cancellation."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from db.errors import BadInput
from graph.context import Context
from graph.kit.loaders import BatchLoader


class Doubles(BatchLoader[int, int]):
    """Returns twice the key; 13 fails, and 0 has no value."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def find(self, keys: list[int]) -> Mapping[int, int | Exception]:
        self.batches.append(keys)
        await self.go_on.wait()
        found: dict[int, int | Exception] = {key: 2 * key for key in keys if key}
        return found | {13: BadInput("No.", hint="Take another.")}


@pytest.fixture
async def doubles() -> Doubles:
    return Doubles.of(Context(services=cast("Any", None), viewer=None, request_id="r"))


async def test_loader_batches_concurrent_loads(doubles: Doubles) -> None:
    assert await doubles.load_many([1, 2, 1, 0]) == [2, 4, 2, None]
    assert doubles.batches == [[1, 2, 0]]
    assert await doubles.load(2) == 4
    assert await doubles.load(3) == 6
    assert doubles.batches == [[1, 2, 0], [3]]


async def test_loader_cancellation_does_not_affect_others(doubles: Doubles) -> None:
    doubles.go_on.clear()
    first, second = (asyncio.ensure_future(doubles.load(1)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    third = asyncio.ensure_future(doubles.load(1))
    doubles.go_on.set()
    assert await second == await third == 2
    assert first.cancelled()
    assert doubles.batches == [[1]]


async def test_loader_error_of_one_key_does_not_affect_others(doubles: Doubles) -> None:
    answers = await asyncio.gather(*map(doubles.load, (1, 13)), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], BadInput)
    with pytest.raises(BadInput):
        await doubles.load(13)


async def test_loader_error_of_batch_reaches_all_callers(
    doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_keys: list[int]) -> Mapping[int, int]:
        raise ZeroDivisionError

    monkeypatch.setattr(doubles, "find", broken)
    answers = await asyncio.gather(*map(doubles.load, (1, 2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ZeroDivisionError] * 2


async def test_loader_does_not_wait_for_keys_in_the_task_of_the_operation(
    doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubles, "_join_batch", None)
    doubles.context.task = asyncio.current_task()
    assert await doubles.load(1) == 2


async def test_loader_batches_only_loads_of_concurrent_resolvers(doubles: Doubles) -> None:
    doubles.context.task = asyncio.current_task()
    assert await doubles.load(1) == await doubles.load(1) == 2
    with pytest.raises(BadInput):
        await doubles.load(13)
    assert doubles.batches == [[1], [13]]

    assert await asyncio.gather(*map(doubles.load, (1, 2, 3))) == [2, 4, 6]
    assert await doubles.load_many([4, 5]) == [8, 10]
    assert doubles.batches == [[1], [13], [2, 3], [4, 5]]
