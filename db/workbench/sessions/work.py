"""The work that waits for database sessions: queued runs, and further sources such as scripts."""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias
from uuid import UUID

from db.database_sessions import DatabaseSessions
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import RunRow, SessionQueue, sessions_with_queued_runs

if TYPE_CHECKING:  # psycopg is imported with the first session, not at the start
    from db.workbench.sessions.held_session import HeldSession

Work: TypeAlias = Callable[["HeldSession"], Awaitable[object]]


class SessionEnded(Exception):
    """The process may send nothing in this session: it is closed, or has to be closed."""


class WorkSource(Protocol):
    """One kind of work. The worker of a session takes the oldest piece of all sources."""

    async def sessions(self, process: int) -> Collection[UUID]:
        """The sessions of a process for which work waits; read every few seconds."""

    async def oldest(self, held: "HeldSession") -> datetime | None:
        """Since when the next piece of work for the session waits. None without one."""

    async def next_work(self, held: "HeldSession") -> Work | None:
        """Claims the next piece of work, in a transaction that begins with `begin_statement`."""


class QueuedRuns:
    """The runs that were submitted to a session."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sessions(self, process: int) -> Collection[UUID]:
        async with self._database.read() as session:
            return await sessions_with_queued_runs(session, process=process)

    async def oldest(self, held: "HeldSession") -> datetime | None:
        async with self._database.read() as session:
            return await SessionQueue(session, held.row.owner_id).oldest(held.row.id)

    async def next_work(self, held: "HeldSession") -> Work | None:
        async def claim(session: Session) -> RunRow:
            await begin_statement(session, held)
            queue = SessionQueue(session, held.row.owner_id)
            run = await queue.claim_next(held.row.id, held.backend)
            if run is None:
                raise _NothingQueued
            return run

        try:
            run = await self._database.transaction(claim)
        except _NothingQueued:
            return None
        return lambda held: held.execute(run)


async def begin_statement(session: Session, held: "HeldSession") -> None:
    """Marks the session RUNNING. Locks its row, so that no other process closes it meanwhile.

    Call this first in each transaction that starts a run of the session.

    Raises:
        SessionEnded: Nothing may be sent any more.
    """
    sessions = DatabaseSessions(session, held.row.owner_id)
    if await sessions.begin_statement(held.row.id, process=held.row.process) is None:
        raise SessionEnded


class _NothingQueued(Exception):
    """Undoes the transaction: the run was cancelled after it was seen."""
