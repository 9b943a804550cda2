"""A result store that is full, missing or silent fails only its own run."""

import asyncio
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.errors import NotFound, Unavailable
from db.objects.store import ObjectStore, open_objects
from db.runs import Backend, Ending, PageRow, RunRow, RunState
from db.workbench.execution.reading.read_throttle import ReadThrottle
from db.workbench.execution.runner import closing
from db.workbench.execution.statement.connection_use import PooledUse
from db.workbench.execution.statement.statement_run import StatementRun
from db.workbench.result_cleanup import delete_partial_results
from db.workbench.results.result_store import result_prefix
from db.workbench.results.spool import Spool
from tests.fixtures.objects import Cable
from tests.fixtures.patience import patience
from tests.fixtures.replicas import Gate
from tests.fixtures.runs import Desk

MIB = 1024 * 1024
STORED = "SELECT repeat('x', 100) FROM generate_series(1, 1000)"
"""Its result is too large to be kept with the run."""


@pytest.fixture
def result_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A folder, or S3 behind a cable if the test uses one."""
    if "cable" not in request.fixturenames:
        return open_objects(None, data_dir=tmp_path)
    request.getfixturevalue("cable")
    return open_objects(f"s3://{request.getfixturevalue('s3_bucket')}/x", data_dir=tmp_path)


@contextmanager
def full_above(size: int) -> Iterator[None]:
    """Limits the size of files that this process can write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def pages_of(store: ObjectStore, run: RunRow) -> list[str]:
    found = [batch async for batch in store.list(result_prefix(run.owner_id, run.id))]
    return [stored.key for batch in found for stored in batch]


async def with_a_page(desk: Desk, gate: Gate, more: str, **options: int) -> RunRow:
    """A run that has stored a page and waits for the gate; then `more` rows follow."""
    run = await desk.start(
        f"""SELECT 1, repeat('x', 100) FROM generate_series(1, 1000) UNION ALL
            SELECT 2, {gate.wait}::text UNION ALL {more}""",  # noqa: S608 - of this module
        **options,
    )
    return await desk.until(run, lambda now: now.row_count)


async def failed(desk: Desk, run: RunRow) -> None:
    """Asserts an error message and no rows."""
    over = await desk.end_of(run)
    assert (over.state, over.row_count) == (RunState.FAILED, 0)
    assert over.parsed_error is not None
    assert "stored" in over.parsed_error.message
    assert over.parsed_error.hint
    async with patience():
        while run.id in desk.runner._executor.running:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


@pytest.fixture
async def opened(gate: Gate) -> AsyncIterator[Gate]:
    yield gate
    await gate.open()


async def test_store_full_disk_fails_run(
    desk: Desk, opened: Gate, result_store: ObjectStore
) -> None:
    more = "SELECT 3, repeat('x', 1000) FROM generate_series(1, 5000)"
    run = await with_a_page(desk, opened, more)
    assert len(await pages_of(result_store, run)) == 1
    with full_above(MIB):
        await opened.open()
        await failed(desk, run)
    assert await pages_of(result_store, run) == []
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_store_outage_fails_run(
    desk: Desk, opened: Gate, cable: Cable, result_store: ObjectStore
) -> None:
    """Objects that cannot be deleted are deleted once the store is available."""
    run = await with_a_page(desk, opened, "SELECT 3, ''")
    cable.cut()
    await opened.open()
    await failed(desk, run)
    cable.mend()
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED
    kept = await desk.run("SELECT 2")
    assert len(await pages_of(result_store, run)) == 1
    assert await delete_partial_results(desk.server.database, desk.server.results) == 1
    assert await delete_partial_results(desk.server.database, desk.server.results) == 0
    assert await pages_of(result_store, run) == []
    assert await desk.rows(kept) == [[2]]


async def test_store_removed_folder_is_handled(
    desk: Desk, opened: Gate, result_store: ObjectStore, tmp_path: Path
) -> None:
    run = await with_a_page(
        desk, opened, "SELECT 3, repeat('x', 100) FROM generate_series(1, 1000)"
    )
    shutil.rmtree(tmp_path / "objects")
    await opened.open()
    await failed(desk, run)
    assert not await result_store.answers()
    (tmp_path / "objects").mkdir()
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_store_hang_is_limited_by_timeout(desk: Desk, opened: Gate, cable: Cable) -> None:
    run = await with_a_page(desk, opened, "SELECT 3, ''", timeout_ms=15_000)  # also for the page
    cable.deaden()
    await opened.open()
    over = await desk.end_of(run)
    assert (over.state, over.row_count) == (RunState.FAILED, 0)
    assert over.parsed_error is not None
    assert "has ended, but its rows were not stored" in over.parsed_error.message
    cable.mend()
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_cancel_works_while_last_page_is_stored(
    desk: Desk, opened: Gate, cable: Cable
) -> None:
    """The statement has ended and its connection is usable. Stored rows stay."""
    run = await with_a_page(desk, opened, "SELECT 3, ''")
    cable.deaden()
    await opened.open()
    await _until_idle(desk, run)
    verdict = await desk.runner.cancel(desk.owner, run.id)
    assert (verdict.outcome, verdict.run.state, verdict.connection_usable) == (
        RunState.CANCELLED,
        RunState.CANCELLED,
        True,
    )
    cable.mend()
    assert len(await desk.rows(await desk.now(run))) == verdict.run.row_count > 0


async def test_server_stop_does_not_wait_for_hanging_store(
    desk: Desk, opened: Gate, cable: Cable
) -> None:
    run = await with_a_page(desk, opened, "SELECT 3, ''")
    async with closing(desk.runner, grace=lambda: 0):
        cable.deaden()
        await opened.open()
        await _until_idle(desk, run)
    assert (await desk.now(run)).state == RunState.INTERRUPTED


async def test_rows_missing_from_store_raise_not_found(
    desk: Desk, result_store: ObjectStore, tmp_path: Path
) -> None:
    """Simulates a restore without the objects."""
    run = await desk.run(STORED)
    await result_store.delete(await pages_of(result_store, run))
    with pytest.raises(NotFound, match="no longer in the store") as caught:
        await desk.rows(run)
    assert "again" in caught.value.hint
    assert (await desk.now(run)) == run
    await desk.runner.delete(desk.owner, run.id)


async def test_rows_during_store_outage(desk: Desk, cable: Cable) -> None:
    """Small results are readable."""
    run, small = await desk.run(STORED), await desk.run("SELECT generate_series(1, 3)")
    cable.cut()
    with pytest.raises(Unavailable):
        await desk.rows(run)
    assert await desk.rows(small) == [[1], [2], [3]]
    cable.mend()
    assert await desk.rows(run, first=2) == [["x" * 100]] * 2


async def test_run_not_sent_is_reported(desk: Desk, result_store: ObjectStore) -> None:
    """Howdah's database becomes unavailable between connecting and sending the statement."""
    run = await desk.run("SELECT 1")
    folder = result_prefix(desk.owner, run.id)
    endings: list[Ending] = []

    async def away(_: Backend) -> None:
        raise Unavailable("The database does not answer.", hint="Try again.")

    async def ended(ending: Ending) -> bool:
        endings.append(ending)
        return True

    async def flushed(_: object) -> None:
        raise AssertionError

    spool = Spool(result_store, folder, flushed)
    execution = StatementRun(
        PooledUse(run, desk.server.workbench),
        desk.server.workbench,
        spool,
        ReadThrottle(),
        max_cell=MIB,
    )
    await execution.run(away, ended)
    (ending,) = endings
    assert ending.state == RunState.FAILED
    assert ending.error is not None
    assert ending.error.message == "The database does not answer."


async def _until_idle(desk: Desk, run: RunRow) -> None:
    """The statement has ended on the target."""
    pid = await desk.backend(run)
    assert pid is not None
    await desk.until_gone(pid)


async def test_record_page_is_idempotent(desk: Desk, opened: Gate) -> None:
    """Simulates an unavailable database during the commit."""
    run = await with_a_page(desk, opened, "SELECT 3, ''")
    execution = desk.runner._executor.running[run.id]
    page = PageRow(number=7, first_row=run.row_count, row_count=5, size=5, marks="[5,5]")
    for _ in range(2):
        await desk.runner._executor._recorder.record_page(run, page, execution.columns)
    assert (await desk.now(run)).row_count == run.row_count + 5
