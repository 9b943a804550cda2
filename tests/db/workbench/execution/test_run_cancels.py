"""Cancellation in every phase of a run: one outcome, no leftovers, and the next run succeeds."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

import pytest

from db.errors import Conflict, Forbidden
from db.kit.base import OwnerId
from db.objects.store import ObjectStore
from db.runs import Backend, RunRow, Runs, RunState
from db.workbench.execution.runner import CancelResult, closing
from tests.fixtures.objects import Cable
from tests.fixtures.runs import MAX_RUNNING, Desk
from tests.fixtures.targets import Target, silent, speaking
from tests.fixtures.workbench import ConnectionSaver

BAD_LISTENER = """DO $$ BEGIN
  LOOP
    BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN END;
  END LOOP;
END $$"""


@contextlib.contextmanager
def full() -> Iterator[int]:
    """A port that answers no SYN: its backlog is full and nothing accepts."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@contextlib.asynccontextmanager
async def backlogged() -> AsyncIterator[int]:
    with full() as port:
        yield port


Hole: TypeAlias = Callable[[], contextlib.AbstractAsyncContextManager[int]]
HOLES: dict[str, Hole] = {
    "accepts and says nothing": lambda: speaking(silent),
    "does not accept": backlogged,
}


@pytest.fixture(params=HOLES)
async def hole(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a target that never answers."""
    async with HOLES[request.param]() as port:
        yield port


async def cancel(desk: Desk, run: RunRow) -> CancelResult:
    return await desk.runner.cancel(desk.owner, run.id)


def as_asked(result: CancelResult) -> bool:
    return (result.outcome, result.run.state, result.connection_usable) == (
        RunState.CANCELLED,
        RunState.CANCELLED,
        True,
    )


async def fill(desk: Desk) -> list[RunRow]:
    """The maximum number of concurrent runs, all running."""
    runs = [await desk.start("SELECT pg_sleep(60)") for _ in range(MAX_RUNNING)]
    for run in runs:
        await desk.until_backend(run)
    return runs


async def test_cancel_of_queued_run_never_starts_it(desk: Desk) -> None:
    await desk.run("DROP TABLE IF EXISTS begun")
    await desk.run("CREATE TABLE begun (a int)")
    runs = await fill(desk)
    waiting = await desk.start("INSERT INTO begun VALUES (1)")
    assert waiting.state == RunState.QUEUED
    assert as_asked(await cancel(desk, waiting))
    for run in runs:
        assert as_asked(await cancel(desk, run))
    assert await desk.rows(await desk.run("SELECT count(*) FROM begun")) == [["0"]]


async def test_cancel_works_while_connecting(desk: Desk, saver: ConnectionSaver, hole: int) -> None:
    nowhere = desk._replace(connection_id=await saver.save(host="127.0.0.1", port=hole))
    runs = [await nowhere.start("SELECT 1") for _ in range(MAX_RUNNING)]
    for run in runs:
        await nowhere.until_running(run)
    results = await asyncio.gather(*(cancel(nowhere, run) for run in runs))
    assert [as_asked(result) for result in results] == [True] * len(runs)
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED  # their places are free


async def test_cancel_works_while_ssh_server_is_silent(
    desk: Desk, saver: ConnectionSaver, hole: int
) -> None:
    tunnel = {
        "ssh_host": "127.0.0.1",
        "ssh_port": hole,
        "ssh_username": "ada",
        "ssh_auth_method": "PASSWORD",
        "ssh_password": "hers",
    }
    nowhere = desk._replace(connection_id=await saver.save(**tunnel))
    run = await nowhere.start("SELECT 1")
    await nowhere.until_running(run)
    assert as_asked(await cancel(nowhere, run))


async def test_timeout_applies_while_connecting(
    desk: Desk, saver: ConnectionSaver, hole: int
) -> None:
    nowhere = desk._replace(connection_id=await saver.save(host="127.0.0.1", port=hole))
    run = await nowhere.run("SELECT 1", timeout_ms=200)
    assert run.state == RunState.TIMED_OUT
    assert run.parsed_error is not None
    assert "200 ms" in run.parsed_error.message


async def test_server_stop_interrupts_run_while_connecting(
    desk: Desk, saver: ConnectionSaver, hole: int
) -> None:
    nowhere = desk._replace(connection_id=await saver.save(host="127.0.0.1", port=hole))
    async with closing(desk.runner, grace=lambda: 0):
        run = await nowhere.start("SELECT 1")
        await nowhere.until_running(run)
    assert (await nowhere.now(run)).state == RunState.INTERRUPTED


async def test_cancel_works_while_pool_is_exhausted(desk: Desk) -> None:
    """The limit per owner allows the run, but the pool of its connection is smaller."""
    running = await fill(desk)
    desk.limit(max_running=len(running) + 1)
    waiting = await desk.start("SELECT 1")
    await desk.until_running(waiting)
    assert as_asked(await cancel(desk, waiting))
    for run in running:
        assert as_asked(await cancel(desk, run))
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_cancel_works_while_rows_arrive(desk: Desk) -> None:
    run = await desk.start("SELECT generate_series(1, 1e9::int8), repeat('x', 100)")
    await desk.until(run, lambda now: now.row_count)
    result = await cancel(desk, run)
    assert as_asked(result)
    kept = result.run.row_count
    first, last = [await desk.rows(result.run, offset=at, first=1) for at in (0, kept - 1)]
    assert (first[0][0], last[0][0]) == ("1", str(kept))
    assert await desk.now(run) == result.run  # no page is added after the end


@pytest.mark.usefixtures("real_limits")
async def test_cancel_works_while_store_hangs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        hanging.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "put", hang)
        run = await desk.start("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
        await hanging.wait()
        result = await cancel(desk, run)
        assert result.run.state == RunState.CANCELLED
        assert (await desk.end_of(run)).row_count == 0
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_cancel_returns_already_finished_after_the_end(desk: Desk) -> None:
    run = await desk.start("SELECT pg_sleep(60)")
    await desk.until_backend(run)
    assert as_asked(await cancel(desk, run))
    again = await cancel(desk, run)
    assert (again.outcome, again.run.state) == ("ALREADY_FINISHED", RunState.CANCELLED)
    done = await desk.run("SELECT 1")
    late = await cancel(desk, done)
    assert (late.outcome, late.run) == ("ALREADY_FINISHED", done)


@pytest.mark.usefixtures("real_limits")
async def test_cancel_returns_terminated_when_statement_traps_it(desk: Desk) -> None:
    run = await desk.start(BAD_LISTENER)
    pid = await desk.until_backend(run)
    result = await cancel(desk, run)
    assert (result.outcome, result.run.state) == ("TERMINATED", RunState.CANCELLED)
    assert not result.connection_usable
    await desk.until_gone(pid)
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_cancel_is_forbidden_for_other_owner(desk: Desk, other_owner: OwnerId) -> None:
    run = await desk.start("SELECT pg_sleep(60)")
    await desk.until_backend(run)
    with pytest.raises(Forbidden):
        await desk.runner.cancel(other_owner, run.id)
    assert (await desk.now(run)).state == RunState.RUNNING
    await cancel(desk, run)


@pytest.fixture
async def wire(target: Target) -> AsyncIterator[tuple[Cable, int]]:
    """A proxy to the target that can become silent, and its port."""
    laid = Cable(target.port)
    async with await asyncio.start_server(laid.call, "127.0.0.1", 0) as server:
        yield laid, server.sockets[0].getsockname()[1]
        laid.cut()


@pytest.mark.usefixtures("real_limits")
async def test_cancel_works_while_target_is_unreachable(
    desk: Desk, saver: ConnectionSaver, wire: tuple[Cable, int]
) -> None:
    """Simulates an unplugged cable: neither the statement nor the cancel request is answered."""
    laid, port = wire
    far = desk._replace(connection_id=await saver.save(host="127.0.0.1", port=port))
    asked = await far.start("SELECT pg_sleep(60)")
    timed = await far.start("SELECT pg_sleep(60)", timeout_ms=1_000)
    await far.until_backend(asked)
    laid.deaden()
    result = await cancel(far, asked)
    assert (result.outcome, result.run.state) == ("TERMINATED", RunState.CANCELLED)
    assert not result.connection_usable
    assert (await far.end_of(timed)).state == RunState.TIMED_OUT
    laid.mend()
    assert (await far.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_record_backend_refuses_finished_run(desk: Desk) -> None:
    """Another process ends the run while this one connects."""
    run = await desk.run("SELECT 1")
    with pytest.raises(Conflict):
        await desk.server.database.write(
            lambda session: Runs(session, desk.owner).record_backend(run.id, Backend(1, ""))
        )
