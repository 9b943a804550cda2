"""A run changes only while it is running, and its terminal state is final."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from db.errors import Conflict
from db.runs import Backend, Ending, Runs, RunState, interrupt_queued
from tests.db.runs.conftest import Queue

KEEP = timedelta(hours=1)
BACKEND = Backend(1, "now")


def finish(run_id: UUID, state: str) -> Callable[[Runs], Awaitable[Any]]:
    return lambda runs: runs.finish(run_id, Ending(state=state), keep=KEEP)


async def change(queue: Queue, work: Callable[[Runs], Awaitable[Any]]) -> Any:
    return await queue.database.transaction(lambda session: work(Runs(session, queue.owner)))


async def require_unchanged(queue: Queue, run_id: UUID) -> None:
    """None of the changes that belong to a running run takes place."""
    before = await change(queue, lambda runs: runs.require(run_id))
    for refused in (
        lambda runs: runs.record_backend(run_id, BACKEND),
        lambda runs: runs.add_page_totals(run_id, columns="[]", rows=1, size=1),
    ):
        with pytest.raises(Conflict):
            await change(queue, refused)
    assert not await change(queue, lambda runs: runs.record_notices(run_id, "[1]"))
    assert await change(queue, finish(run_id, RunState.SUCCEEDED)) is None
    assert await change(queue, lambda runs: runs.require(run_id)) == before


async def test_queued_run_takes_no_changes_of_a_running_one(queue: Queue) -> None:
    await require_unchanged(queue, (await queue.accept()).id)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED])
async def test_ended_run_is_final(queue: Queue, state: str) -> None:
    run_id = (await queue.accept(has_slot=True)).id
    assert (await change(queue, finish(run_id, state))).state == state
    await require_unchanged(queue, run_id)
    assert await change(queue, lambda runs: runs.request_cancel(run_id, keep=KEEP)) is None


@pytest.mark.parametrize("has_slot", [True, False])
async def test_active_run_is_not_deleted(queue: Queue, *, has_slot: bool) -> None:
    run_id = (await queue.accept(has_slot=has_slot)).id
    with pytest.raises(Conflict):
        await change(queue, lambda runs: runs.delete_finished(run_id))
    assert (await change(queue, lambda runs: runs.require(run_id))).id == run_id


async def test_backends_elsewhere_are_those_of_runs_that_other_processes_execute(
    queue: Queue,
) -> None:
    async def elsewhere(process: int) -> Any:
        of_connection = queue.connection_id
        return await change(
            queue, lambda runs: runs.backends_elsewhere(of_connection, process=process)
        )

    run_id = (await queue.accept(process=1, has_slot=True)).id
    await queue.accept(process=1)
    assert await elsewhere(2) == []  # it has no backend yet
    await change(queue, lambda runs: runs.record_backend(run_id, BACKEND))
    assert await elsewhere(2) == [BACKEND]
    assert await elsewhere(1) == []
    await change(queue, finish(run_id, RunState.SUCCEEDED))
    assert await elsewhere(2) == []


async def test_stopping_process_interrupts_only_what_it_has_queued(queue: Queue) -> None:
    others, queued = await queue.accept(process=2), await queue.accept(process=1)
    running = await queue.accept(process=1, has_slot=True)
    interrupted = await queue.database.transaction(
        lambda session: interrupt_queued(session, process=1, keep=KEEP)
    )
    assert [run.id for run in interrupted] == [queued.id]
    ids = [others.id, running.id]
    rows = await change(queue, lambda runs: runs.get_many(ids))
    assert {row.id: row.state for row in rows} == {
        others.id: RunState.QUEUED,
        running.id: RunState.RUNNING,
    }
