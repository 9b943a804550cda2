"""A process that was found dead ends its work and goes on; one that hangs holds nobody up."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text

from db.database_sessions import CloseReason
from db.errors import Unavailable
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.route.connect import Dropped
from db.postgres.statements import compile_change
from db.runs import RunState, interrupt_orphans
from db.security.vault import Vault
from db.workbench.execution import runner
from db.workbench.sessions.open_request import OpenRequest
from tests.db.workbench.execution.test_run_cancels import BAD_LISTENER
from tests.db.workbench.execution.test_run_replicas import OpenReplica, forget_process, replica, sit
from tests.fixtures.dropped_commits import drop_after_commit
from tests.fixtures.network import Link
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk, RunServer, serve_sessions, takeover_by
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import ConnectionSaver

__all__ = ["replica", "sit"]  # fixtures

_FENCE = compile_change(
    text("UPDATE replica_processes SET fenced_at = clock_timestamp() WHERE process = :process")
)
_STEADY = compile_change(
    text("UPDATE replica_processes SET steady_since = steady_since - interval '1 minute'")
)
_AGE = compile_change(
    text("UPDATE query_runs SET started_at = started_at - interval '1 hour' WHERE id = :id")
)


async def fence(database: Database, process: int) -> None:
    await database.write(lambda session: session.rows(_FENCE, process=process))


async def test_fenced_process_ends_its_work_and_goes_on_under_another_number(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with replica() as survivor, replica() as fenced, serve_sessions(fenced) as sessions:
        desk, heartbeat = sit(fenced), fenced.runner.heartbeat
        before = heartbeat.process
        row = await sessions.open(desk.owner, OpenRequest(desk.connection_id))
        lost = await desk.start("SELECT pg_sleep(62)")
        pid = await desk.until_backend(lost)
        await fence(committed, before)
        with pytest.raises(Unavailable):
            await desk.start("SELECT 1")
        with pytest.raises(Unavailable):
            await sessions.open(desk.owner, OpenRequest(desk.connection_id))
        await takeover_by(survivor).run()
        ended = await sit(survivor).now(lost)
        assert ended.state == RunState.INTERRUPTED
        await heartbeat.beat()
        assert heartbeat.process != before
        assert "found dead" in caplog.text
        async with patience():
            while sessions.open_count or fenced.runner._executor.running:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        await desk.until_gone(pid)
        assert await sit(survivor).now(lost) == ended
        assert (await sessions._read(desk.owner, row.id)).close_reason == CloseReason.LOST
        assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED
        assert (await sessions.open(desk.owner, OpenRequest(desk.connection_id))).state == "IDLE"


async def test_run_past_its_time_is_ended_by_another_process(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], committed: Database
) -> None:
    """Its own process, which is alive, hangs: it does not end it."""
    async with replica() as hung, replica() as other:
        run = await sit(hung).start("SELECT pg_sleep(60)")
        in_time = await sit(hung).start("SELECT pg_sleep(60)")
        pid = await sit(hung).until_backend(run)
        await sit(hung).until_backend(in_time)
        await committed.write(lambda session: session.rows(_AGE, id=run.id))
        await takeover_by(other).run()  # just started, as after a pause of the database
        assert (await sit(other).now(run)).state == RunState.RUNNING
        async with patience():  # a heartbeat that is late makes the process unsteady again
            while (ended := await sit(other).now(run)).state == RunState.RUNNING:
                await committed.write(lambda session: session.rows(_STEADY))
                await takeover_by(other).run()
        assert ended.state == RunState.TIMED_OUT
        assert ended.parsed_error is not None
        assert "did not end it" in ended.parsed_error.message
        await sit(other).until_gone(pid)
        assert (await sit(other).now(in_time)).state == RunState.RUNNING


@pytest.mark.parametrize("typed", [False, True], ids=["stored password", "typed password"])
async def test_closing_a_connection_ends_statements_of_a_process_that_hangs(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    committed_owner: OwnerId,
    vault: Vault,
    target: Target,
    *,
    typed: bool,
) -> None:
    """The other process hears of it neither by an event nor from the database."""
    saver = ConnectionSaver(committed, vault, committed_owner, target)
    saved = await saver.save(password=None if typed else CANARY)
    async with (
        replica() as one,
        replica() as hung,
        serve_sessions(one) as sessions,
    ):
        if typed:
            await one.workbench.connect(committed_owner, saved, {"password": CANARY})
        desk = sit(hung)._replace(connection_id=saved)
        pids = [
            await desk.until_backend(await desk.start(statement))
            for statement in ("SELECT pg_sleep(60)", BAD_LISTENER)
        ]
        await sessions.close_all_on(committed_owner, saved)
        for pid in pids:
            await desk.until_gone(pid)


async def test_takeover_does_not_wait_for_a_target_that_does_not_respond(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    vault: Vault,
) -> None:
    """It terminates the backend when the target responds again."""
    async with replica() as survivor, replica() as dead:
        desk = sit(dead)
        saver = ConnectionSaver(committed, vault, desk.owner, desk.target)
        async with Link.opened("127.0.0.1", desk.target.port) as link:
            await saver.change(desk.connection_id, port=link.port, password=CANARY)
            lost = await desk.start("SELECT pg_sleep(62)")
            pid = await desk.until_backend(lost)
            link.cut()
            await fence(committed, dead.runner.process)
            takeover = takeover_by(survivor)
            await takeover.run()
            assert takeover._tasks
            assert (await sit(survivor).now(lost)).state == RunState.INTERRUPTED
            link.mend()
            await desk.until_gone(pid)
            await takeover.close()


async def test_takeover_that_was_not_confirmed_is_finished_by_the_next_round(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection to Howdah's database drops when it is committed."""
    async with replica() as survivor, replica() as hung:
        lost = await sit(hung).start("SELECT pg_sleep(62)")
        pid = await sit(hung).until_backend(lost)
        with monkeypatch.context() as patched:
            patched.setattr(hung.runner._executor, "stop", lambda *_: True)
            await committed.write(lambda session: forget_process(session, lost.id))
            takeover = takeover_by(survivor)
            drop_after_commit(monkeypatch)
            with pytest.raises(Dropped):
                await takeover.run()
            assert (await sit(survivor).now(lost)).state == RunState.INTERRUPTED
            await takeover.run()
            await sit(survivor).until_gone(pid)
            await takeover.close()


async def test_backend_of_a_run_that_was_cancelled_for_a_hung_process_is_ended(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No takeover finds the run itself, because it has ended."""
    monkeypatch.setattr(runner, "CANCEL_WITHIN_S", 0.2)
    async with replica() as other, replica() as hung:
        run = await sit(hung).start("SELECT pg_sleep(60)")
        pid = await sit(hung).until_backend(run)
        monkeypatch.setattr(hung.runner._executor, "stop", lambda *_: True)
        result = await other.runner.cancel(run.owner_id, run.id)
        assert (result.outcome, result.run.state) == ("TERMINATED", RunState.CANCELLED)
        await takeover_by(other).run()
        await sit(other).until_gone(pid)


async def test_run_ended_by_another_process_leaves_its_backend_to_no_other_run(
    replica: OpenReplica, sit: Callable[[RunServer], Desk], committed: Database
) -> None:
    """The other process may terminate the backend much later."""
    async with replica() as thawed:
        desk = sit(thawed)
        lost = await desk.start("SELECT pg_sleep(62)")
        pid = await desk.until_backend(lost)
        await committed.write(lambda session: forget_process(session, lost.id))
        await committed.write(
            lambda session: interrupt_orphans(session, keep=thawed.runner.limits.retention)
        )
        await desk.until_idle()  # its statement was cancelled
        assert (await desk.now(lost)).state == RunState.INTERRUPTED
        assert await desk.rows(await desk.run("SELECT pg_backend_pid()")) != [[pid]]


async def test_backend_that_a_takeover_has_left_is_ended_by_a_third_process(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
    committed: Database,
    vault: Vault,
) -> None:
    """The process that took over dies while the target does not respond."""
    async with replica() as third, replica() as second, replica() as dead:
        desk = sit(dead)
        saver = ConnectionSaver(committed, vault, desk.owner, desk.target)
        async with Link.opened("127.0.0.1", desk.target.port) as link:
            await saver.change(desk.connection_id, port=link.port, password=CANARY)
            lost = await desk.start("SELECT pg_sleep(62)")
            pid = await desk.until_backend(lost)
            link.cut()
            await fence(committed, dead.runner.process)
            takeover = takeover_by(second)
            await takeover.run()
            await takeover.close()
            link.mend()
            await fence(committed, second.runner.process)
            finishing = takeover_by(third)
            async with patience():  # a heartbeat that is late makes the process unsteady again
                while not finishing._tasks:
                    await committed.write(lambda session: session.rows(_STEADY))
                    await finishing.run()
            await desk.until_gone(pid)
            await asyncio.gather(*finishing._tasks)
            await committed.write(lambda session: session.rows(_STEADY))
            await finishing.run()
            assert not finishing._tasks
