"""Retries with backoff, waits with a timeout, and shielded work. No test sleeps."""

import asyncio
import gc
import logging
from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest

from db.concurrency.waiting import (
    Backoff,
    SharedTasks,
    ShieldedTasks,
    StopTimer,
    in_background,
    retry,
    wait_up_to,
)


class Pauses(list[float]):
    """The longest pauses that the jitter allows, recorded instead of slept."""

    def backoff(self, first_s: float = 1.0, longest_s: float = 5.0) -> Backoff:
        async def sleep(seconds: float) -> None:
            self.append(seconds)

        return Backoff(first_s, longest_s, lambda _low, high: high, sleep)


class Attempts:
    """Fails with these errors in turn, then succeeds."""

    def __init__(self, errors: Iterable[Exception]) -> None:
        self.errors = list(errors)
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def run(attempt: Attempts, pauses: Pauses, **options: Any) -> str:
    defaults: dict[str, Any] = {"on": (OSError,), "backoff": pauses.backoff(), "report": repr}
    return await retry(attempt, **defaults | options)


def test_backoff_doubles_up_to_the_longest_pause() -> None:
    assert [*islice(Pauses().backoff().pauses(), 5)] == [1, 2, 4, 5, 5]


def test_backoff_jitter_is_full() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.5

    assert [*islice(Backoff(1, 3, uniform).pauses(), 3)] == [0.5] * 3
    assert asked == [(0, 1), (0, 2), (0, 3)]


async def test_retry_repeats_until_success_and_reports_each_error() -> None:
    attempts, pauses, reported = Attempts([OSError("a"), OSError("b")]), Pauses(), []
    assert await run(attempts, pauses, report=lambda error: reported.append(str(error))) == ("done")
    assert (attempts.count, pauses, reported) == (3, [1, 2], ["a", "b"])


async def test_retry_raises_the_last_error_after_its_attempts() -> None:
    attempts, pauses = Attempts([OSError("a"), OSError("b"), OSError("c")]), Pauses()
    with pytest.raises(OSError, match="b"):
        await run(attempts, pauses, attempts=2)
    assert pauses == [1]


@pytest.mark.parametrize("error", [ValueError("other"), ConnectionError("excepted")])
async def test_retry_raises_other_errors_at_once(error: Exception) -> None:
    attempts, pauses = Attempts([error]), Pauses()
    with pytest.raises(type(error)):
        await run(attempts, pauses, unless=(ConnectionError,))
    assert (attempts.count, pauses) == (1, [])


async def test_retry_starts_no_pause_that_ends_after_the_deadline() -> None:
    attempts, pauses = Attempts([OSError("a"), OSError("b")]), Pauses()
    with pytest.raises(OSError, match="b"):
        await run(attempts, pauses, deadline=asyncio.get_running_loop().time() + 1.5)
    assert pauses == [1]


async def test_retry_raises_the_error_before_the_attempt_that_the_deadline_cancels() -> None:
    refused = [OSError("refused")]

    async def hang() -> None:
        if refused:
            raise refused.pop()
        await asyncio.get_running_loop().create_future()

    deadline = asyncio.get_running_loop().time() + 0.05
    backoff = Pauses().backoff(first_s=0)
    with pytest.raises(OSError, match="refused"):
        await retry(hang, on=(OSError,), backoff=backoff, deadline=deadline, report=repr)


async def test_wait_up_to_returns_the_result_or_none() -> None:
    event = asyncio.Event()
    assert await wait_up_to(0, event.wait()) is None
    event.set()
    assert await wait_up_to(10, event.wait()) is True
    assert await wait_up_to(None, event.wait()) is True


async def test_wait_up_to_raises_the_timeout_error_of_the_work() -> None:
    with pytest.raises(TimeoutError):
        await wait_up_to(10, Attempts([TimeoutError()])())


async def test_background_work_that_fails_is_logged_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = asyncio.Event()

    async def fail() -> None:
        failing.set()
        raise OSError("refused")

    async with in_background(asyncio.Event().wait(), name="other"):  # is cancelled, which is none
        pass
    async with in_background(fail(), name="sweeps"):
        await failing.wait()
        await asyncio.sleep(0)  # until the task has ended
        logged = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert logged == [(logging.ERROR, "background work has failed, and does not go on: sweeps")]
    assert "refused" in caplog.text


async def test_shielded_tasks_return_the_result_and_raise_the_error_of_the_work() -> None:
    tasks = ShieldedTasks()
    assert await tasks.run(asyncio.sleep(0, "done"), name="work") == "done"
    with pytest.raises(OSError, match="refused"):
        await tasks.run(Attempts([OSError("refused")])(), name="work")


async def test_shielded_tasks_end_their_work_when_the_caller_is_cancelled() -> None:
    tasks, may_end, has_ended = ShieldedTasks(), asyncio.Event(), asyncio.Event()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def work() -> None:
        await may_end.wait()
        has_ended.set()
        raise OSError("refused")

    caller = asyncio.create_task(tasks.run(work(), name="work"))
    await asyncio.sleep(0)
    caller.cancel()
    await tasks.wait(0)
    assert caller.cancelled()
    assert not has_ended.is_set()
    may_end.set()
    await tasks.wait(10)
    del caller  # its traceback holds the task of the work
    gc.collect()  # asyncio reports an error that was not retrieved when its task is freed
    await tasks.close()
    assert (has_ended.is_set(), reported) == (True, [])


async def test_shared_tasks_do_the_work_of_concurrent_callers_once() -> None:
    tasks, may_end, begun = SharedTasks[str, int]("work"), asyncio.Event(), 0

    async def work() -> int:
        nonlocal begun
        begun = number = begun + 1
        await may_end.wait()
        return number if tasks.is_current("a") else -number

    def call() -> asyncio.Task[int]:
        return asyncio.create_task(tasks.run("a", work))

    cancelled, first = call(), call()
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    tasks.forget("a")
    second = call()
    await asyncio.sleep(0)
    may_end.set()
    assert [*await asyncio.gather(first, second)] == [-1, 2]
    assert tasks.keys == []
    assert await tasks.run("a", work) == 3


async def test_shared_tasks_raise_an_error_in_all_callers_and_end_when_they_are_closed() -> None:
    tasks = SharedTasks[str, object]("work")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("refused")

    callers = (tasks.run("a", fail), tasks.run("a", fail))
    failed = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in failed] == [OSError, OSError]
    waiting = asyncio.create_task(tasks.run("b", asyncio.Event().wait))
    await asyncio.sleep(0)
    await tasks.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_stop_timer_counts_from_the_first_begin() -> None:
    now = 100.0
    timer = StopTimer(30, clock=lambda: now)
    now = 200.0
    assert timer.left_s() == 30
    timer.begin()
    now = 212.0
    timer.begin()
    assert timer.left_s() == 18
    now = 300.0
    assert timer.left_s() == 0
