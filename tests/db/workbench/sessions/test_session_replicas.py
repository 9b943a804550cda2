"""Several processes on one database: sessions are used, closed and rescued from any of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import text

from db.database_sessions import CloseReason, DatabaseSessionRow, SessionBackend, SessionState
from db.errors import Conflict, Unavailable
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change
from db.runs import RunRow, RunState
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.sessions import backend_termination, service
from db.workbench.sessions.maintenance import Takeover
from db.workbench.sessions.open_request import OpenRequest
from db.workbench.sessions.service import DatabaseSessionsService
from tests.db.workbench.execution.test_run_replicas import OpenReplica, replica, sit
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk, RunServer, serve_sessions

__all__ = ["replica", "sit"]  # fixtures

_FORGET = compile_change(text("UPDATE database_sessions SET process = 0 WHERE id = :id"))
_MISS = compile_change(
    text("UPDATE database_sessions SET expires_at = now() - interval '1 minute' WHERE id = :id")
)
_STEADY = compile_change(
    text("UPDATE replica_processes SET steady_since = steady_since - interval '1 minute'")
)


class Seat(NamedTuple):
    """A user at one of the processes."""

    server: RunServer
    service: DatabaseSessionsService
    desk: Desk

    @property
    def owner(self) -> OwnerId:
        return self.desk.owner

    async def open(self, **options: Any) -> DatabaseSessionRow:
        return await self.service.open(self.owner, OpenRequest(self.desk.connection_id, **options))

    async def start(self, session_id: UUID, statement: str) -> RunRow:
        request = RunRequest(None, statement, session_id=session_id)
        return (await self.server.runner.submit(self.owner, request)).run

    async def run(self, session_id: UUID, statement: str) -> RunRow:
        return await self.desk.end_of(await self.start(session_id, statement))

    async def rows(self, session_id: UUID, statement: str) -> Any:
        run = await self.run(session_id, statement)
        assert run.state == RunState.SUCCEEDED, run
        return await self.desk.rows(run)

    async def now(self, session_id: UUID) -> DatabaseSessionRow:
        return await self.service._read(self.owner, session_id)

    async def until_closed(self, session_id: UUID) -> str | None:
        async with patience(), self.service.follow(self.owner, session_id) as watch:
            row = await watch.current()
            while row is not None and not row.is_closed:
                row = await watch.next_change()
        assert row is not None
        return row.close_reason

    async def until_gone(self, row: DatabaseSessionRow) -> None:
        """The target has no backend of the session any more."""
        alive = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {row.backend_pid}"  # noqa: S608
        async with patience():
            while await self.desk.target.administer(alive):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.02)

    def takeover(self) -> Takeover:
        server = self.server
        return Takeover(server.database, server.events, server.runner, self.service)


@pytest.fixture
def seat(replica: OpenReplica, sit: Callable[[RunServer], Desk]) -> Callable[..., Any]:
    @contextlib.asynccontextmanager
    async def seated(**options: Any) -> AsyncIterator[Seat]:
        async with replica(**options) as server, serve_sessions(server) as service:
            yield Seat(server, service, sit(server))

    return seated


@pytest.mark.parametrize("bus", [{}, {"deaf": True}], ids=["event", "no event"])
async def test_session_is_used_and_closed_from_any_replica(
    seat: Callable[..., Any], bus: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CLOSE_WITHIN_S", 0.5)  # a deaf replica waits for all of it
    async with seat() as one, seat(**bus) as other:
        row = await one.open()
        await other.run(row.id, "BEGIN")
        assert (await other.now(row.id)).state == SessionState.IN_TRANSACTION
        mine = await one.rows(row.id, "SELECT pg_backend_pid()")
        assert await other.rows(row.id, "SELECT pg_backend_pid()") == mine == [[row.backend_pid]]
        sleeping = await other.start(row.id, "SELECT pg_sleep(60)")
        await one.desk.until_backend(sleeping)
        verdict = await other.server.runner.cancel(other.owner, sleeping.id)
        assert (verdict.outcome, verdict.connection_usable) == (RunState.CANCELLED, True)
        assert (await other.now(row.id)).state == SessionState.IN_FAILED_TRANSACTION
        ended = await other.service.end_transaction(other.owner, row.id, "ROLLBACK")
        assert ended.command == "ROLLBACK"
        closed = await other.service.close(other.owner, row.id)
        assert (closed.state, closed.close_reason) == (SessionState.CLOSED, CloseReason.CLIENT)
        with pytest.raises(Conflict):
            await one.start(row.id, "SELECT 1")
        await one.until_gone(row)


async def test_session_of_dead_process_is_lost(
    seat: Callable[..., Any], committed: Database
) -> None:
    """The process loses its number, as if it were killed; it is fenced when it goes on."""
    async with seat() as dead, seat() as survivor:
        row = await dead.open()
        await dead.run(row.id, "BEGIN")
        sleeping = await dead.start(row.id, "SELECT pg_sleep(60)")
        await dead.desk.until_backend(sleeping)
        waiting = await survivor.start(row.id, "COMMIT")
        await committed.write(lambda session: forget(session, row.id))
        await survivor.takeover().run()
        assert (await survivor.now(row.id)).close_reason == CloseReason.LOST
        await survivor.until_gone(row)
        ended = [await survivor.desk.end_of(run) for run in (sleeping, waiting)]
        assert [run.state for run in ended] == [RunState.INTERRUPTED] * 2
        assert ended[1].parsed_error is not None
        assert "before this statement began" in ended[1].parsed_error.message
        await until_not_held(dead, row.id)


async def test_overdue_session_is_closed_by_another_replica(
    seat: Callable[..., Any], committed: Database
) -> None:
    async with seat() as hung, seat() as other:
        row = await hung.open()
        await committed.write(lambda session: miss(session, row.id))
        await other.takeover().run()  # just started, as after a pause of the database
        assert not (await other.now(row.id)).is_closed
        async with patience():  # a heartbeat that is late makes the process unsteady again
            while not (await other.now(row.id)).is_closed:
                await committed.write(lambda session: session.rows(_STEADY))
                await other.takeover().run()
        assert (await other.now(row.id)).close_reason == CloseReason.IDLE_TIMEOUT
        await other.until_gone(row)
        await until_not_held(hung, row.id)


async def test_takeover_ends_a_session_after_an_outage_that_followed_the_close(
    seat: Callable[..., Any], committed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with seat() as dead, seat() as survivor:
        row = await dead.open()
        end_closed, attempts, is_ended = survivor.service.end_closed, 0, asyncio.Event()

        async def end_after_an_outage(closed: SessionBackend) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise Unavailable("The database is down.", hint="Wait.")
            await end_closed(closed)
            is_ended.set()

        monkeypatch.setattr(survivor.service, "end_closed", end_after_an_outage)
        await committed.write(lambda session: forget(session, row.id))
        takeover = survivor.takeover()
        async with patience():
            while not is_ended.is_set():
                await takeover.run()
                await asyncio.sleep(0.01)
        assert attempts == 2
        await takeover.close()
        await until_not_held(dead, row.id)


async def test_backend_of_a_session_that_was_closed_for_a_hung_process_is_ended_later(
    seat: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that holds the session hears nothing, and the target does not respond."""

    async def ignore(_: object) -> None:
        """What a process does that hangs."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(service, "CLOSE_WITHIN_S", 0.2)
    async with seat() as hung, seat() as other:
        row = await hung.open()
        monkeypatch.setattr(hung.service.holder, "check", ignore)
        with monkeypatch.context() as patched:
            patched.setattr(backend_termination, "_terminate", hang)
            closed = await other.service.close(other.owner, row.id)
        assert closed.close_reason == CloseReason.CLIENT
        await other.takeover().run()
        await other.until_gone(row)


async def test_process_sends_nothing_in_session_that_another_has_closed(
    seat: Callable[..., Any], committed: Database
) -> None:
    """The claim is the fence, also if the process has heard nothing."""
    async with seat() as one:
        row = await one.open()
        held = one.service.holder.held[row.id]
        await committed.write(lambda session: forget(session, row.id))
        run = await one.start(row.id, "SELECT 1")
        one.service.holder.wake(row.id)
        await until_not_held(one, row.id)
        assert held.is_lost
        assert (await one.desk.end_of(run)).state == RunState.INTERRUPTED


async def test_stopping_server_closes_sessions(seat: Callable[..., Any]) -> None:
    async with seat() as other:
        async with seat() as stopped:
            row = await stopped.open()
            await stopped.run(row.id, "BEGIN")
            running = await stopped.start(row.id, "SELECT pg_sleep(60)")
            await stopped.desk.until_backend(running)
            queued = await stopped.start(row.id, "COMMIT")
        assert (await other.now(row.id)).close_reason == CloseReason.SERVER_STOPPED
        ended = [await other.desk.end_of(run) for run in (running, queued)]
        assert [run.state for run in ended] == [RunState.INTERRUPTED] * 2
        await other.until_gone(row)


async def forget(session: Session, session_id: UUID) -> None:
    """Simulates a dead process: there is none of this number."""
    await session.rows(_FORGET, id=session_id)


async def miss(session: Session, session_id: UUID) -> None:
    """Simulates a process that hangs: the session should have been closed."""
    await session.rows(_MISS, id=session_id)


async def until_not_held(seat: Seat, session_id: UUID) -> None:
    async with patience():
        while session_id in seat.service.holder.held:  # type: ignore[union-attr]  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def test_session_expires_by_the_clock_of_the_database(seat: Callable[..., Any]) -> None:
    """The other replicas judge by it, so that of its own process may be wrong."""
    async with seat() as one:
        opened = await one.open(idle_timeout_ms=60_000, transaction_timeout_ms=30_000)
        assert opened.expires_at - opened.last_used_at == timedelta(minutes=1)
        await one.run(opened.id, "BEGIN")
        begun = await one.now(opened.id)
        assert begun.expires_at - begun.transaction_started_at == timedelta(seconds=30)
        await one.run(opened.id, "SELECT 1")
        later = await one.now(opened.id)
        assert later.transaction_started_at == begun.transaction_started_at
        assert later.expires_at == begun.expires_at
        await one.run(opened.id, "COMMIT AND CHAIN")
        assert (await one.now(opened.id)).transaction_started_at > begun.transaction_started_at
        await one.run(opened.id, "COMMIT")
        ended = await one.now(opened.id)
        assert ended.transaction_started_at is None
        assert ended.expires_at - ended.last_used_at == timedelta(minutes=1)
