"""Several processes on one database: scripts are sent, cancelled and rescued from any of them."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import text

from db.errors import HowdahError, RateLimited, TooLarge
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.route.connect import Dropped
from db.postgres.sessions import Session
from db.postgres.statements import compile_change
from db.runs import RunRow, RunState, ScriptedRuns
from db.scripts import (
    OnError,
    ScriptRunRow,
    ScriptRuns,
    ScriptState,
    ScriptTransaction,
    delete_expired_scripts,
    expire_scripts_over_quota,
)
from db.workbench.scripts.script_request import ScriptRequest
from db.workbench.scripts.script_steps import ScriptSteps
from db.workbench.scripts.service import ScriptsService
from db.workbench.sessions.open_request import OpenRequest
from db.workbench.sessions.service import DatabaseSessionsService
from tests.db.workbench.execution.test_run_replicas import OpenReplica, replica, sit
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk, RunServer, serve_scripts, serve_sessions, takeover_by

__all__ = ["replica", "sit"]  # fixtures

_FORGET = compile_change(text("UPDATE database_sessions SET process = 0 WHERE id = :id"))
_AGE = compile_change(
    text("UPDATE script_runs SET created_at = created_at - interval '5 minutes' WHERE id = :id")
)


class Seat(NamedTuple):
    """A user at one of the processes."""

    server: RunServer
    sessions: DatabaseSessionsService
    scripts: ScriptsService
    desk: Desk

    @property
    def owner(self) -> OwnerId:
        return self.desk.owner

    async def open(self) -> UUID:
        request = OpenRequest(self.desk.connection_id)
        return (await self.sessions.open(self.owner, request)).id

    async def start(self, script: str, **options: Any) -> ScriptRunRow:
        if "session_id" not in options:
            options["connection_id"] = self.desk.connection_id
        request = ScriptRequest(script, **options)
        return (await self.scripts.submit(self.owner, request)).script

    async def until(
        self, script: ScriptRunRow, reached: Callable[[ScriptRunRow], object]
    ) -> ScriptRunRow:
        async with patience(), self.scripts.follow(self.owner, script.id) as watch:
            row = await watch.current()
            while row is not None and not reached(row):
                row = await watch.next_change()
        assert row is not None
        return row

    async def end_of(self, script: ScriptRunRow) -> ScriptRunRow:
        return await self.until(script, lambda row: row.is_finished)

    async def running(self, script: ScriptRunRow) -> RunRow:
        """The run of its current statement, which sleeps on the target."""
        await self.until(script, lambda row: row.state == ScriptState.RUNNING)
        async with self.server.database.read() as session:
            (run,) = await ScriptedRuns(session, self.owner).running(script.id)
        await self.desk.until_backend(run)
        return run


@pytest.fixture
def seat(replica: OpenReplica, sit: Callable[[RunServer], Desk]) -> Callable[..., Any]:
    @contextlib.asynccontextmanager
    async def seated(limits: dict[str, int] | None = None, **options: Any) -> AsyncIterator[Seat]:
        async with (
            replica(**options) as server,
            serve_sessions(server, **(limits or {})) as sessions,
            serve_scripts(server, sessions, orphans_interval_s=0.5) as scripts,
        ):
            yield Seat(server, sessions, scripts, sit(server))

    return seated


@pytest.mark.parametrize("bus", [{}, {"deaf": True}], ids=["event", "no event"])
async def test_script_is_sent_and_cancelled_from_any_replica(
    seat: Callable[..., Any], bus: dict[str, bool]
) -> None:
    async with seat() as holder, seat(**bus) as other:
        session_id = await holder.open()
        script = await other.start(
            "SELECT pg_sleep(60); SELECT 2",
            session_id=session_id,
            transaction=ScriptTransaction.SINGLE,
        )
        await holder.running(script)
        cancelled = await other.scripts.cancel(other.owner, script.id)
        assert (cancelled.state, cancelled.succeeded_count) == (ScriptState.CANCELLED, 0)
        waiting = await other.start("SELECT 3", session_id=session_id)
        assert (await other.end_of(waiting)).state == ScriptState.SUCCEEDED


async def test_queued_script_is_cancelled_before_its_turn(seat: Callable[..., Any]) -> None:
    async with seat() as one:
        session_id = await one.open()
        first = await one.start("SELECT pg_sleep(60)", session_id=session_id)
        second = await one.start("SELECT 2", session_id=session_id)
        await one.running(first)
        cancelled = await one.scripts.cancel(one.owner, second.id)
        assert (cancelled.state, cancelled.current_index) == (ScriptState.CANCELLED, None)
        await one.scripts.cancel(one.owner, first.id)


async def test_script_of_dead_process_is_interrupted(
    seat: Callable[..., Any], committed: Database
) -> None:
    """The process loses its number, as if it were killed; it executes nothing more."""
    async with seat() as dead, seat() as survivor:
        session_id = await dead.open()
        script = await dead.start("SELECT pg_sleep(60); SELECT 2", session_id=session_id)
        run = await dead.running(script)
        queued = await survivor.start("SELECT 3", session_id=session_id)
        await committed.write(lambda session: session.rows(_FORGET, id=session_id))
        await takeover_by(survivor.server).run()
        ended = [await survivor.end_of(one) for one in (script, queued)]
        assert [one.state for one in ended] == [ScriptState.INTERRUPTED] * 2
        assert "outcome" in (ended[0].error or "")
        assert "before its first statement" in (ended[1].error or "")
        assert (await survivor.desk.end_of(run)).state == RunState.INTERRUPTED


async def test_stopping_server_interrupts_scripts(seat: Callable[..., Any]) -> None:
    async with seat() as other:
        async with seat() as stopped:
            script = await stopped.start("SELECT pg_sleep(60); SELECT 2")
            await stopped.running(script)
        assert (await other.end_of(script)).state == ScriptState.INTERRUPTED


async def test_closed_session_cancels_its_script(seat: Callable[..., Any]) -> None:
    async with seat() as one, seat() as other:
        session_id = await one.open()
        script = await one.start("SELECT pg_sleep(60); SELECT 2", session_id=session_id)
        await one.running(script)
        await other.sessions.close(other.owner, session_id)
        assert (await other.end_of(script)).state == ScriptState.CANCELLED


async def test_script_without_a_session_is_interrupted_after_a_while(
    seat: Callable[..., Any], committed: Database
) -> None:
    """Its process died while it opened the session."""
    async with seat() as one:
        script = await one.start("SELECT 1")
        await one.end_of(script)
        orphan = await one.start("SELECT pg_sleep(0)")
        await one.end_of(orphan)
        undo = compile_change(
            text(
                "UPDATE script_runs SET state = 'QUEUED', session_id = NULL, finished_at = NULL,"
                " created_at = now() - interval '61 seconds' WHERE id = :id"
            )
        )
        await committed.write(lambda session: session.rows(undo, id=orphan.id))
        await one.scripts.interrupt_orphans()
        assert (await one.end_of(orphan)).state == ScriptState.INTERRUPTED


async def test_script_that_gets_no_session_leaves_nothing(seat: Callable[..., Any]) -> None:
    async with seat({"max_open": 1}) as one:
        session_id = await one.open()
        request = ScriptRequest("SELECT 1", connection_id=one.desk.connection_id)
        with pytest.raises(RateLimited):
            await one.scripts.submit(one.owner, request, key="again")
        await one.sessions.close(one.owner, session_id)
        submitted = await one.scripts.submit(one.owner, request, key="again")
        assert not submitted.replayed
        assert (await one.end_of(submitted.script)).state == ScriptState.SUCCEEDED


async def test_script_whose_session_is_not_recorded_at_first_gets_it(
    seat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to our database is lost before one commit, and after another."""
    attach, calls = ScriptRuns.attach, list[UUID]()

    async def losing(
        scripts: ScriptRuns[Session], script_id: UUID, session_id: UUID
    ) -> ScriptRunRow | None:
        calls.append(session_id)
        attached = None if len(calls) == 1 else await attach(scripts, script_id, session_id)
        if len(calls) < 3:
            raise Dropped("The connection was lost.", hint="Try again.")
        return attached

    monkeypatch.setattr(ScriptRuns, "attach", losing)
    async with seat() as one:
        script = await one.start("SELECT 1")
        assert [script.session_id] * 3 == calls
        assert (await one.end_of(script)).state == ScriptState.SUCCEEDED


async def test_statement_whose_start_was_not_confirmed_is_executed_once(
    seat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to our database is lost with each commit that starts a statement."""
    async with seat() as one:
        transaction = one.server.database.transaction
        lost: list[RunRow] = []

        async def losing(work: Any, **options: Any) -> Any:
            found = await transaction(work, **options)
            if isinstance(found, RunRow) and found.state == RunState.RUNNING and len(lost) < 3:
                lost.append(found)
                if len(lost) != 2:  # the second try of the first statement
                    raise Dropped("The connection was lost.", hint="Try again.")
            return found

        monkeypatch.setattr(one.server.database, "transaction", losing)
        script = await one.end_of(
            await one.start("CREATE TEMPORARY TABLE once (id int); INSERT INTO once VALUES (1)")
        )
        assert (script.state, script.succeeded_count, len(lost)) == (ScriptState.SUCCEEDED, 2, 3)
        async with one.server.database.read() as session:
            assert await ScriptedRuns(session, one.owner).running(script.id) == []


async def test_script_with_an_internal_error_leaves_no_open_transaction(
    seat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(ScriptSteps, "record", fail)
    async with seat() as one:
        session_id = await one.open()
        single = ScriptTransaction.SINGLE
        script = await one.start("SELECT 1; SELECT 2", session_id=session_id, transaction=single)
        assert (await one.end_of(script)).state == ScriptState.FAILED
        async with patience(), one.sessions.follow(one.owner, session_id) as watch:
            row = await watch.current()
            while not row.is_closed:
                row = await watch.next_change()


async def test_texts_of_scripts_count_with_those_of_runs(seat: Callable[..., Any]) -> None:
    async with seat(max_kept_text=1_000) as one:
        await one.end_of(await one.start(f"SELECT '{'x' * 200}'"))
        with pytest.raises(TooLarge):  # the script and its run are stored
            await one.start(f"SELECT '{'x' * 300}'")


async def test_lost_connection_interrupts_a_script_that_would_go_on(
    seat: Callable[..., Any],
) -> None:
    async with seat() as one:
        script = await one.start(
            "SELECT 1; SELECT pg_terminate_backend(pg_backend_pid()); SELECT 3",
            on_error=OnError.CONTINUE,
        )
        ended = await one.end_of(script)
        assert (ended.state, ended.succeeded_count) == (ScriptState.INTERRUPTED, 1)


async def test_expired_scripts_are_deleted_and_their_runs_kept(
    seat: Callable[..., Any], committed: Database
) -> None:
    async with seat() as one:
        kept = [await one.end_of(await one.start(f"SELECT {number}")) for number in range(3)]
        await committed.write(lambda session: session.rows(_AGE, id=kept[0].id))

        async def expire(**quota: int) -> int:
            limits = {"max_text": 10_000, "max_scripts": 10} | quota
            return await committed.write(
                lambda session: expire_scripts_over_quota(session, **limits)
            )

        assert await expire() == 0
        assert await expire(max_scripts=2) == 1
        assert await committed.write(delete_expired_scripts) == 1
        with pytest.raises(HowdahError):
            await one.scripts._read(one.owner, kept[0].id)
        assert await expire(max_text=8) == 1
