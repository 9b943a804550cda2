"""Which run a process may start next."""

from db.runs import Backend, Runs, RunState
from tests.db.runs.conftest import Queue


async def test_claim_takes_the_oldest_run_that_the_process_queued(queue: Queue) -> None:
    runs = [await queue.accept(process=process) for process in (2, 1, 1)]
    assert {run.state for run in runs} == {RunState.QUEUED}
    first, second = runs[1].id, runs[2].id
    assert await queue.claim() == first
    assert await queue.claim(executing=[first]) == second
    assert await queue.claim(executing=[first, second]) is None
    assert await queue.claim(process=2) == runs[0].id


async def test_claim_repeats_a_run_of_which_the_process_does_not_know(queue: Queue) -> None:
    run = await queue.accept()
    assert await queue.claim() == run.id
    assert await queue.claim() == run.id
    await queue.database.write(
        lambda session: Runs(session, queue.owner).record_backend(run.id, Backend(1, "now"))
    )
    assert await queue.claim() is None  # its statement may have been sent


async def test_claim_leaves_a_run_that_started_with_its_acceptance(queue: Queue) -> None:
    run = await queue.accept(has_slot=True)
    assert run.state == RunState.RUNNING
    assert await queue.claim() is None


async def test_claim_waits_for_an_older_run_of_another_process(queue: Queue) -> None:
    older, newer = [await queue.accept(process=process) for process in (2, 1)]
    assert await queue.claim(max_running=1) is None
    assert await queue.claim(process=2, max_running=1) == older.id
    assert await queue.claim(max_running=1) is None
    assert await queue.claim(max_running=2) == newer.id
