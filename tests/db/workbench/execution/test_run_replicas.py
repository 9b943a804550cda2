"""Several processes on one database: remote cancels, orphans, order of runs, no event bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from sqlalchemy import text

from db.errors import RateLimited, TooLarge
from db.events import open_events
from db.kit.base import OwnerId
from db.kit.lists.long_texts import ROWS_BYTES
from db.objects.store import open_objects
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change
from db.replicas import Heartbeat
from db.runs import Runs, RunState
from db.security.vault import Vault
from db.workbench import Limits, Reach, Targets, Workbench
from db.workbench.execution.request.run_request import MAX_STATEMENT_CHARS
from db.workbench.execution.runner_lifecycle import watching_cancels
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk, RunServer, serve_runs, takeover_by
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import ConnectionSaver

_FORGET = compile_change(text("UPDATE query_runs SET process = 0 WHERE id = :id"))


async def forget_process(session: Session, run_id: UUID) -> None:
    """Simulates a dead process: there is none of this number."""
    await session.rows(_FORGET, id=run_id)


OpenReplica: TypeAlias = Callable[..., contextlib.AbstractAsyncContextManager[RunServer]]


@pytest.fixture
def replica(committed: Database, committed_url: str, vault: Vault, tmp_path: Path) -> OpenReplica:
    """Opens runner, bus and pools of another process; `deaf` has a bus without peers."""

    @contextlib.asynccontextmanager
    async def opened(*, deaf: bool = False, **limits: Any) -> AsyncIterator[RunServer]:
        async with contextlib.AsyncExitStack() as stack:
            events = await open_events(committed_url, channel="deaf" if deaf else "runs")
            stack.push_async_callback(events.close)
            workbench = await stack.enter_async_context(
                Workbench.opened(
                    committed,
                    vault,
                    Targets(Reach(private=True)),
                    Limits(pool_size=4),
                    events=events,
                )
            )
            live = await stack.enter_async_context(Heartbeat.opened(committed))
            objects = open_objects(None, data_dir=tmp_path)
            server = await stack.enter_async_context(
                serve_runs(committed, events, objects, workbench, process=live, **limits)
            )
            await stack.enter_async_context(watching_cancels(server.runner, events))
            yield server

    return opened


@pytest.fixture
async def sit(
    committed: Database, vault: Vault, committed_owner: OwnerId, target: Target
) -> Callable[[RunServer], Any]:
    """A client of the same owner at any replica."""
    connection = await ConnectionSaver(committed, vault, committed_owner, target).save()
    return lambda server: Desk(server, committed_owner, connection, target)


@pytest.mark.parametrize("bus", [{}, {"deaf": True}], ids=["event", "no event"])
async def test_cancel_works_from_any_replica(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], bus: dict[str, bool]
) -> None:
    async with replica() as one, replica(**bus) as other:
        run = await sit(one).start("SELECT pg_sleep(60)")
        await sit(one).until_backend(run)
        verdict = await other.runner.cancel(run.owner_id, run.id)
        assert (verdict.outcome, verdict.run.state, verdict.connection_usable) == (
            RunState.CANCELLED,
            RunState.CANCELLED,
            True,
        )


@pytest.mark.parametrize("bus", [{}, {"deaf": True}], ids=["event", "no event"])
async def test_disconnect_ends_runs_of_every_replica(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], bus: dict[str, bool]
) -> None:
    """As it ends those of its own process: their error names the reason."""
    async with replica() as one, replica(**bus) as other:
        runs = [await sit(server).start("SELECT pg_sleep(60)") for server in (one, other)]
        for server, run in zip((one, other), runs, strict=True):
            await sit(server).until_backend(run)
        async with patience():
            await one.workbench.disconnect(runs[0].owner_id, sit(one).connection_id)
            over = [await sit(one).end_of(run) for run in runs]
        for run in over:
            assert run.state == RunState.FAILED
            assert run.parsed_error is not None
            assert run.parsed_error.sqlstate == "57014"
            assert "closed or deleted" in (run.parsed_error.hint or "")


async def test_rows_are_readable_from_any_replica(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    async with replica() as one, replica() as other:
        run = await sit(one).run("SELECT generate_series(1, 3)")
        assert await sit(other).rows(run) == [[1], [2], [3]]


async def test_takeover_interrupts_run_and_terminates_backend(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first replica loses its number, as if it were killed, and cannot write."""
    async with replica() as survivor, replica() as dead:
        kept = await sit(survivor).start("SELECT pg_sleep(61)")
        lost = await sit(dead).start("SELECT pg_sleep(62)")
        await sit(survivor).until_backend(kept)
        pid = await sit(dead).until_backend(lost)
        await committed.write(lambda session: forget_process(session, lost.id))
        await takeover_by(survivor).run()
        over = await sit(survivor).end_of(lost)
        assert over.state == RunState.INTERRUPTED
        assert over.parsed_error is not None
        assert "outcome is unknown" in over.parsed_error.message
        assert f"run {lost.id.hex} was ended" in caplog.text  # the form of the API's IDs
        assert survivor.runner.figures.ended == {RunState.INTERRUPTED: 1, RunState.TIMED_OUT: 0}
        assert (await sit(survivor).now(kept)).state == RunState.RUNNING
        await sit(survivor).until_gone(pid)


async def test_takeover_terminates_backend_of_typed_password(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    committed_owner: OwnerId,
    vault: Vault,
    target: Target,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process that rescues the run never received the password."""
    saved = await ConnectionSaver(committed, vault, committed_owner, target).save(password=None)
    async with replica() as survivor, replica() as dead:
        await dead.workbench.connect(committed_owner, saved, {"password": CANARY})
        desk = sit(dead)._replace(connection_id=saved)
        lost = await desk.start("SELECT pg_sleep(62)")
        pid = await desk.until_backend(lost)
        await committed.write(lambda session: forget_process(session, lost.id))
        await takeover_by(survivor).run()
        assert (await sit(survivor).end_of(lost)).state == RunState.INTERRUPTED
        await sit(survivor).until_gone(pid)
        assert "was not terminated" not in caplog.text


async def test_takeover_terminates_backend_recorded_with_the_run(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], committed: Database
) -> None:
    """The run uses a connection that was idle: its backend is known before the run is accepted."""
    async with replica() as survivor, replica() as dead:
        await sit(dead).run("SELECT 1")
        await sit(dead).until_idle()
        lost = await sit(dead).start("SELECT pg_sleep(62)")
        assert (lost.state, lost.revision) == (RunState.RUNNING, 1)
        assert await sit(dead).backend(lost) is not None
        pid = await sit(dead).until_backend(lost)
        await committed.write(lambda session: forget_process(session, lost.id))
        await takeover_by(survivor).run()
        assert (await sit(survivor).end_of(lost)).state == RunState.INTERRUPTED
        await sit(survivor).until_gone(pid)


async def test_changed_connection_is_not_used_from_the_pool(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], committed: Database, vault: Vault
) -> None:
    """Another replica changes the saved connection: its idle connection here is of the past."""
    async with replica() as one:
        desk = sit(one)
        assert await desk.rows(await desk.run("SELECT current_database()")) == [["postgres"]]
        await desk.until_idle()
        saver = ConnectionSaver(committed, vault, desk.owner, desk.target)
        await saver.change(desk.connection_id, database="template1", password=CANARY)
        assert await desk.rows(await desk.run("SELECT current_database()")) == [["template1"]]


async def test_takeover_reports_queued_run_as_not_started(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], committed: Database
) -> None:
    async with replica() as survivor, replica(max_running=1) as dead:
        await sit(dead).until_backend(await sit(dead).start("SELECT pg_sleep(60)"))
        queued = await sit(dead).start("SELECT 1")
        await committed.write(lambda session: forget_process(session, queued.id))
        await takeover_by(survivor).run()
        over = await sit(survivor).end_of(queued)
        assert over.state == RunState.INTERRUPTED
        assert over.parsed_error is not None
        assert "before it began" in over.parsed_error.message


async def test_takeover_spares_live_process(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], committed: Database
) -> None:
    async with replica() as survivor, replica() as other:
        run = await sit(other).start("SELECT pg_sleep(60)")
        await sit(other).until_backend(run)
        await takeover_by(survivor).run()
        assert (await sit(survivor).now(run)).state == RunState.RUNNING


async def test_runner_close_interrupts_its_runs(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    async with replica() as survivor:
        async with replica(max_running=1) as stopping:
            running = await sit(stopping).start("SELECT pg_sleep(60)")
            queued = await sit(stopping).start("SELECT 2")
            await sit(stopping).until_backend(running)
        for run in (running, queued):
            assert (await sit(survivor).now(run)).state == RunState.INTERRUPTED


async def test_runs_start_in_order_across_replicas(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    async with replica(max_running=1) as one, replica(max_running=1) as other:
        first = await sit(one).start("SELECT pg_sleep(60)")
        await sit(one).until_backend(first)
        second = await sit(other).start("SELECT 2")
        assert (await sit(other).now(second)).state == "QUEUED"
        await one.runner.cancel(first.owner_id, first.id)
        assert (await sit(other).end_of(second)).state == RunState.SUCCEEDED


async def test_submit_refuses_too_many_active_runs(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    async with replica(max_running=1, max_active=3) as one:
        runs = [await sit(one).start("SELECT pg_sleep(60)") for _ in range(3)]
        with pytest.raises(RateLimited):
            await sit(one).start("SELECT 1")
        for run in reversed(runs):
            verdict = await one.runner.cancel(run.owner_id, run.id)
            assert verdict.outcome == RunState.CANCELLED
        assert (await sit(one).run("SELECT 1")).state == RunState.SUCCEEDED


async def test_active_runs_are_listed_up_to_a_size(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    long = "SELECT 1 --" + "x" * (MAX_STATEMENT_CHARS - 100)
    fit = ROWS_BYTES // len(long) + 1
    async with replica(max_running=1) as one:
        desk = sit(one)
        runs = [await desk.start("SELECT pg_sleep(60)")]
        runs += [await desk.start(long) for _ in range(fit + 1)]
        async with one.database.read() as session:
            with pytest.raises(TooLarge, match="queued and running"):
                await Runs(session, desk.owner).active()
        await one.runner.cancel(desk.owner, runs.pop().id)
        async with one.database.read() as session:
            listed = await Runs(session, desk.owner).active()
        assert [run.id for run in listed] == [run.id for run in runs]
        for run in reversed(runs):
            await one.runner.cancel(desk.owner, run.id)


async def test_terminal_state_is_final(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    async with replica() as one:
        run = await sit(one).run("SELECT 1")
        verdicts = await asyncio.gather(
            *(one.runner.cancel(run.owner_id, run.id) for _ in range(5))
        )
        assert {verdict.outcome for verdict in verdicts} == {"ALREADY_FINISHED"}
        assert await sit(one).now(run) == run


async def test_concurrent_cancels_have_one_outcome(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    async with replica() as one, replica() as other:
        run = await sit(one).start("SELECT pg_sleep(60)")
        await sit(one).until_backend(run)
        verdicts = await asyncio.gather(
            *(server.runner.cancel(run.owner_id, run.id) for server in (one, other, one))
        )
        assert {verdict.run.state for verdict in verdicts} == {RunState.CANCELLED}


async def test_failing_store_fails_only_its_run(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], tmp_path: Path
) -> None:
    async with replica() as one:
        (tmp_path / "objects" / "runs").write_text("no folder")
        run = await sit(one).run("SELECT generate_series(1, 100000)")
        assert run.state == RunState.FAILED
        assert run.parsed_error is not None
        assert "could not be stored" in run.parsed_error.message
        assert (run.row_count, await sit(one).rows(run)) == (0, [])
        (tmp_path / "objects" / "runs").unlink()
        assert (await sit(one).run("SELECT 1")).state == RunState.SUCCEEDED


async def test_cancel_never_hits_another_run(
    replica: OpenReplica, sit: Callable[[RunServer], Desk]
) -> None:
    """Each cancel races the end of its statement; other runs use the same connections."""
    async with replica(max_running=4, max_active=1_000) as one:
        desk = sit(one)

        async def race(number: int) -> str:
            doomed = await desk.start(f"SELECT pg_sleep({(number % 10) / 2000})")
            verdict = await one.runner.cancel(doomed.owner_id, doomed.id)
            assert verdict.run.state in {RunState.CANCELLED, RunState.SUCCEEDED}
            innocent = await desk.run("SELECT count(*) FROM generate_series(1, 1000)")
            assert (innocent.state, innocent.error) == (RunState.SUCCEEDED, None)
            return verdict.run.state

        for start in range(0, 300, 10):
            await asyncio.gather(*(race(number) for number in range(start, start + 10)))
